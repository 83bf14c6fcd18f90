// Asks cuDNN, without a GPU, whether it takes the graphs of gpu/attention_graphs.h on an H100: it checks
// them, compiles kernels for them, and stops where these would be loaded. What it cannot be asked so is
// the workspace, and what comes out.
#include <cudnn.h>

#include <cstdio>
#include <string>

#include "attention_graphs.h"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;
}

using namespace peri;

namespace {

// The numbers of an H100 SXM as CUDA gives them.
const std::string h100 =
    R"({"multiProcessorCount": 132, "smClockRateKHz": 1980000, "memClockRateKHz": 2619000,
"l2CacheSize": 52428800, "warpSize": 32, "maxSharedMemoryPerBlock": 49152,
"maxSharedMemoryPerBlockOptin": 232448, "reservedSharedMemoryPerBlock": 1024,
"maxRegistersPerSM": 65536, "pciDeviceId": 0, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024,
"maxThreadsPerSM": 2048, "isTccDriver": 0, "supportCoopLaunch": 1, "regsPerBlock": 65536,
"deviceVer": 900, "driverVer": 13000, "cudaDeviceId": 0, "totalGlobalMem": 85000000000,
"deviceName": "NVIDIA H100 80GB HBM3", "maxSharedMemoryPerSM": 233472,
"maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64]})";
constexpr int capability = 90;

using Error = cudnn_frontend::error_t;

// What cuDNN says against the graph, "" if nothing.
std::string refusal(AttentionGraph g,
                    const std::shared_ptr<cudnn_frontend::DeviceProperties>& device) {
    auto& graph = g.graph;
    graph.set_device_properties(device);
    for (const auto& step :
         {+[](cudnn_frontend::graph::Graph& x) { return x.validate(); },
          +[](cudnn_frontend::graph::Graph& x) { return x.build_operation_graph(); },
          +[](cudnn_frontend::graph::Graph& x) {
              return x.create_execution_plans({cudnn_frontend::HeurMode_t::A});
          },
          +[](cudnn_frontend::graph::Graph& x) { return x.check_support(); }})
        if (Error error = step(graph); error.is_bad()) return error.get_message();
    return "";
}

}  // namespace

int main() {
    const auto device = std::make_shared<cudnn_frontend::DeviceProperties>();
    if (Error error = device->deserialize({h100.begin(), h100.end()}); error.is_bad()) {
        std::printf("cuDNN does not know its own description of an H100: %s\n",
                    error.get_message().c_str());
        return 1;
    }
    const AttentionShape shapes[] = {
        {1, 8192, 8192, 0, 16, 16, 128}, {2, 8192, 8192, 0, 16, 16, 128},
        {1, 8192, 8192, 0, 16, 16, 160}, {1, 8192, 8192, 0, 16, 16, 64},
        {1, 8192, 8192, 0, 16, 4, 128},  {3, 1024, 1024, 0, 2, 1, 80},
        {2, 100, 100, 0, 4, 2, 96},      {1, 64, 64, 0, 1, 1, 8},
        {1, 2048, 2048, 0, 8, 8, 256}};
    int refused = 0;
    for (const AttentionShape& s : shapes)
        for (const bool backward : {false, true}) {
            const std::string words = refusal(backward ? attention_backward_graph(s, capability)
                                                       : attention_forward_graph(s, capability),
                                              device);
            refused += words != "";
            std::printf("%s B=%d T=%d H=%d KV=%d D=%d: %s\n", backward ? "backward" : "forward ",
                        s.B, s.Tq, s.H, s.KV, s.D, words == "" ? "taken" : words.c_str());
        }
    // and one that it must refuse, lest it say yes to everything
    const bool asleep =
        refusal(attention_forward_graph({1, 100, 100, 0, 1, 1, 12}, capability), device) == "";
    if (asleep) std::printf("a head of 12 was taken\n");
    std::printf("cuDNN %zu: %d refused\n", cudnnGetVersion(), refused);
    return refused != 0 || asleep;
}
