// Attention by cuDNN: the graphs of attention_graphs.h, each planned once for its shape, on the stream
// of all other kernels. Linked where cuDNN and the headers of cudnn-frontend are, else no_cudnn.cpp.
#include <cudnn.h>

#include <cstdlib>
#include <map>
#include <string>
#include <tuple>
#include <unordered_map>

#include "attention_graphs.h"
#include "attention_library.h"
#include "check.h"
#include "cuda.h"

// What cudnn-frontend calls of cuDNN it finds among what is linked, CUDA's driver when it is needed: so
// this program starts where there is none.
namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;
}

namespace peri {

int library_version() { return static_cast<int>(cudnnGetVersion()); }

namespace {

void check(const std::string& what, bool good, const std::string& message) {
    if (!good)
        cuda_failed(what.c_str(), __FILE__, __LINE__,
                    (message + "\n--attention tiles does without cuDNN").c_str());
}

void check(const std::string& what, cudnn_frontend::error_t error) {
    check(what, error.is_good(), error.get_message());
}

cudnnHandle_t handle() {
    static const cudnnHandle_t made = [] {
        const std::string runtime = "libcudart.so." + std::to_string(CUDART_VERSION / 1000);
        setenv("CUDNN_FRONTEND_CUDART_LIB_NAME", runtime.c_str(), 0);  // the one that is linked
        cudnnHandle_t h;
        const cudnnStatus_t created = cudnnCreate(&h);
        check("cudnnCreate", created == CUDNN_STATUS_SUCCESS, cudnnGetErrorString(created));
        const cudnnStatus_t set = cudnnSetStream(h, stream());
        check("cudnnSetStream", set == CUDNN_STATUS_SUCCESS, cudnnGetErrorString(set));
        return h;
    }();
    return made;
}

std::string text(const AttentionShape& s) {
    return "attention by cuDNN (B=" + std::to_string(s.B) + " T=" + std::to_string(s.Tq) +
           " H=" + std::to_string(s.H) + " KV=" + std::to_string(s.KV) +
           " D=" + std::to_string(s.D) + ")";
}

using Arrays = std::unordered_map<int64_t, void*>;

// Runs the graph that make(s) returns.
template <class Make>
void run(const AttentionShape& s, Make make, Arrays arrays) {
    // One for each Make. Never freed: at exit what cuDNN has loaded since goes first, and plans need it.
    static auto& planned = *new std::map<std::tuple<int, int, int, int, int>, AttentionGraph>;
    const auto key = std::tuple(s.B, s.Tq, s.H, s.KV, s.D);
    auto found = planned.find(key);
    if (found == planned.end()) {
        AttentionGraph g = make(s);
        const cudnn_frontend::error_t built =
            g.graph.build(handle(), {cudnn_frontend::HeurMode_t::A});
        check(text(s), built);
        const int64_t needed = g.graph.get_workspace_size();
        check(text(s), needed <= static_cast<int64_t>(library_scratch(s)),
              std::to_string(needed) + " bytes of workspace, more than were planned for");
        found = planned.emplace(key, std::move(g)).first;
    }
    const cudnn_frontend::error_t ran =
        found->second.graph.execute(handle(), arrays, workspace<bf16>(library_scratch(s)));
    check(text(s), ran);
}

void* array(const void* memory) { return const_cast<void*>(memory); }  // cuDNN's are all void*

// Calls part(first sequence, the shape of some sequences) until all are done.
template <class Part>
void for_parts(AttentionShape s, Part part) {
    const int at_once = library_sequences(s);
    for (int first = 0, B = s.B; first < B; first += s.B) {
        s.B = std::min(at_once, B - first);
        part(size_t(first), s);
    }
}

}  // namespace

void library_forward(bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v,
                     AttentionShape shape) {
    const size_t queries = size_t(shape.Tq) * shape.H, keys = size_t(shape.Tk) * shape.KV;
    for_parts(shape, [&](size_t b, const AttentionShape& s) {
        const size_t query = b * queries * s.D, key = b * keys * s.D;
        run(s, [](const AttentionShape& part) { return attention_forward_graph(part); },
            {{in_q, array(q + query)},
             {in_k, array(k + key)},
             {in_v, array(v + key)},
             {in_out, out + query},
             {in_lse, lse + b * queries}});
    });
}

void library_backward(bf16* dq, bf16* dk, bf16* dv, const bf16* dout, const bf16* out,
                      const bf16* q, const bf16* k, const bf16* v, const float* lse,
                      AttentionShape shape) {
    const size_t queries = size_t(shape.Tq) * shape.H, keys = size_t(shape.Tk) * shape.KV;
    for_parts(shape, [&](size_t b, const AttentionShape& s) {
        const size_t query = b * queries * s.D, key = b * keys * s.D;
        run(s, [](const AttentionShape& part) { return attention_backward_graph(part); },
            {{in_q, array(q + query)},
             {in_k, array(k + key)},
             {in_v, array(v + key)},
             {in_out, array(out + query)},
             {in_dout, array(dout + query)},
             {in_lse, array(lse + b * queries)},
             {in_dq, dq + query},
             {in_dk, dk + key},
             {in_dv, dv + key}});
    });
}

}  // namespace peri
