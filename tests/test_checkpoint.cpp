// A checkpoint holds all that a run needs, to the bit; a damaged one is named and changes nothing
// on the disk.
#include "store/checkpoint.h"

#include <filesystem>

#include "catch.h"
#include "check.h"
#include "helpers.h"
#include "store/files.h"
#include "store/safetensors.h"

using namespace peri;
namespace fs = std::filesystem;

namespace {

// A model with its optimizer; `peri` of two narrow layers, 61 tokens.
template <class Real>
struct Run {
    Model<Real> model;
    Optimizer<Real> optimizer;

    static ModelConfig config(int width) {
        ModelConfig c;
        c.layers = 2;
        c.width = width;
        c.heads = c.kv_heads = 2;
        c.ffn = 20;
        c.vocab = 61;
        resolve(c, "auto", Choice::automatic, Choice::automatic);
        return c;
    }
    static Model<Real> initialised(int width) {
        Model<Real> model(config(width), 2, 7);
        model.initialise(5);
        return model;
    }
    explicit Run(bool sgd = false, int width = 12)
        : model(initialised(width)), optimizer(model, settings(sgd)) {}
    static OptimizerSettings settings(bool sgd) {
        OptimizerSettings s;
        s.sgd = sgd;
        return s;
    }

    void train(int steps) {
        for (int i = 0; i < steps; i++) {
            Batch batch{2, 7, {}, {}};
            for (int t = 0; t < 14; t++) {
                batch.tokens.push_back((t * 7 + optimizer.steps()) % 61);
                batch.targets.push_back((t * 5 + 1) % 61);
            }
            model.load(batch);
            model.zero_loss();
            model.zero_gradients();
            model.forward();
            model.backward(14);
            optimizer.step(1e-2);
        }
    }

    // Weights, moments, masters.
    std::vector<std::vector<double>> numbers() const {
        std::vector<std::vector<double>> all;
        for (int id = 0; id < static_cast<int>(model.table().rows.size()); id++)
            all.push_back(model.values(id));
        for (const auto& part : optimizer.state()) {
            std::vector<Accum<Real>> part_numbers(model.table().rows[part.id].size());
            device_download<Real>(part_numbers.data(), part.numbers,
                                  part_numbers.size() * sizeof(Accum<Real>));
            all.emplace_back(part_numbers.begin(), part_numbers.end());
        }
        return all;
    }
};

template <class Real>
std::string load_complaint(const std::string& path, Run<Real>& run) {
    try {
        load_checkpoint(path, run.model, run.optimizer);
    } catch (const UserError& error) {
        return error.what();
    }
    return "";
}

std::vector<std::string> names_in(const TemporaryDirectory& directory) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory / ""))
        names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace

TEMPLATE_TEST_CASE("a run goes on from its checkpoint with the same bits", "[checkpoint]", float,
                   bf16, fp16) {
    for (const bool sgd : {false, true}) {
        const TemporaryDirectory directory;
        Run<TestType> whole(sgd), first(sgd), second(sgd);
        whole.train(7);
        first.train(3);
        save_checkpoint(directory / "", first.model, first.optimizer, {{"config.json", "{}"}}, 0);
        second.train(1);  // other numbers than those it will read
        load_checkpoint(directory / "step-00000003", second.model, second.optimizer);
        CHECK(second.optimizer.steps() == 3);
        CHECK(second.numbers() == first.numbers());
        second.train(4);
        CHECK(second.numbers() == whole.numbers());
        CHECK(first.numbers() != whole.numbers());
    }
}

TEST_CASE("a loss scale goes on where it was", "[checkpoint]") {
    const TemporaryDirectory directory;
    Run<fp16> whole, first, second, other;
    // so large that steps are skipped at first, and doubled soon
    for (Run<fp16>* run : {&whole, &first, &second}) run->model.set_loss_scale({0x1p40f, 3, 0, 0});
    whole.train(60);
    const LossScale end = whole.model.loss_scale();
    CHECK((end.skipped > 5 && end.skipped < 40 && end.scale < 0x1p36f));
    first.train(31);
    save_checkpoint(directory / "", first.model, first.optimizer, {}, 0);
    load_checkpoint(directory / "step-00000031", second.model, second.optimizer);
    const auto numbers = [](const LossScale& s) {
        return std::vector<double>{s.scale, double(s.grows_after), double(s.good),
                                   double(s.skipped)};
    };
    CHECK(numbers(second.model.loss_scale()) == numbers(first.model.loss_scale()));
    second.train(29);
    CHECK(second.numbers() == whole.numbers());
    CHECK(numbers(second.model.loss_scale()) == numbers(end));

    // another --loss-scale begins anew, but updates that were skipped stay so
    const double skipped = first.model.loss_scale().skipped;
    REQUIRE(skipped > 0);
    other.model.set_loss_scale({8, 0, 0, 0});
    load_checkpoint(directory / "step-00000031", other.model, other.optimizer);
    CHECK(numbers(other.model.loss_scale()) == std::vector<double>{8, 0, 0, skipped});
    other.optimizer.set_steps(32);
    save_checkpoint(directory / "", other.model, other.optimizer, {}, 0);
    other.model.set_loss_scale({512, 0, 0, 0});  // one that stays, for another that does
    load_checkpoint(directory / "step-00000032", other.model, other.optimizer);
    CHECK(numbers(other.model.loss_scale()) == std::vector<double>{512, 0, 0, skipped});
}

TEST_CASE("the newest checkpoints are kept", "[checkpoint]") {
    const TemporaryDirectory directory;
    Run<float> run;
    fs::create_directory(directory / "step-12");         // not a name of ours
    fs::create_directory(directory / "step-00000009x");  // nor this
    for (int i = 0; i < 5; i++) {
        run.train(1);
        save_checkpoint(directory / "", run.model, run.optimizer, {}, i < 3 ? 0 : 2);
        const std::vector<SavedStep> saved = saved_steps(directory / "");
        REQUIRE(!saved.empty());
        CHECK(saved[0].step == i + 1);
        CHECK(saved.size() == size_t(i < 3 ? i + 1 : 2));
    }
    CHECK(names_in(directory) ==
          std::vector<std::string>{"step-00000004", "step-00000005", "step-00000009x", "step-12"});
}

// Nothing is left of one that cannot be written to its end: the disk may be full.
TEST_CASE("a checkpoint that fails", "[checkpoint]") {
    const TemporaryDirectory directory;
    Run<float> run;
    run.train(1);
    CHECK_THROWS_AS(save_checkpoint(directory / "", run.model, run.optimizer,
                                    {{"config.json", "whole"}, {"nowhere/x", "lost"}}, 0),
                    UserError);
    CHECK(names_in(directory).empty());
}

// A whole checkpoint is not written again, a damaged one is; an unfinished one's files are removed.
TEST_CASE("a checkpoint that is there", "[checkpoint]") {
    const TemporaryDirectory directory;
    Run<float> run, other;
    run.train(2);
    fs::create_directory(directory / "unfinished");
    directory.write("unfinished/model.safetensors", "half");
    save_checkpoint(directory / "", run.model, run.optimizer, {{"config.json", "first"}}, 0);
    save_checkpoint(directory / "", run.model, run.optimizer, {{"config.json", "second"}}, 0);
    CHECK(read_text(directory / "step-00000002/config.json") == "first");
    CHECK(names_in(directory) == std::vector<std::string>{"step-00000002"});
    const std::string file = directory / "step-00000002/optimizer.safetensors";
    fs::resize_file(file, fs::file_size(file) - 1);
    CHECK(load_complaint(directory / "step-00000002", other) != "");
    save_checkpoint(directory / "", run.model, run.optimizer, {{"config.json", "third"}}, 0);
    CHECK(read_text(directory / "step-00000002/config.json") == "third");
    CHECK(load_complaint(directory / "step-00000002", other) == "");
    CHECK(other.numbers() == run.numbers());
}

TEST_CASE("checkpoints that cannot be used are named", "[checkpoint]") {
    const TemporaryDirectory directory;
    const std::string path = directory / "step-00000001";
    Run<float> run, other;
    run.train(1);
    save_checkpoint(directory / "", run.model, run.optimizer, {}, 0);
    const auto says = [&](auto&& reader, const std::string& part) {
        const std::string said = load_complaint(path, reader);
        CAPTURE(said, part);
        CHECK(said.find(part) != std::string::npos);
        CHECK(said.find(path) == 0);
    };
    says(Run<bf16>(), "is of another --precision");
    says(Run<float>(false, 16), "another model");
    says(Run<float>(true), "it has more tensors");

    // the weights of one step beside the moments of another
    run.train(1);
    save_checkpoint(directory / "", run.model, run.optimizer, {}, 0);
    const std::string state = "/optimizer.safetensors", good = read_text(path + state);
    fs::copy_file(directory / ("step-00000002" + state), path + state,
                  fs::copy_options::overwrite_existing);
    says(other, "different steps");

    // numbers of the file's head that are none
    const SafetensorsFile whole(directory / "step-00000002/model.safetensors");
    const auto with = [&](const Metadata& metadata) {
        SafetensorsWriter file(path + "/model.safetensors", whole.tensors(), metadata);
        for (const TensorInfo& tensor : whole.tensors()) {
            std::vector<char> bytes(tensor.bytes());
            whole.read(tensor, bytes.data());
            file.write(bytes.data());
        }
        file.close();
    };
    for (const std::string number : {"-6", "1x", "1.5", "", "99999999999"}) {
        with({{"step", number}, {"vocab", number}});
        says(other, "its step is no whole number from 0 ('" + number + "')");
        CHECK_THROWS_WITH(saved_vocab(path), contains("its vocab is no whole number from 1"));
    }
    with({{"vocab", "0"}});
    says(other, "does not say its step");
    CHECK_THROWS_WITH(saved_vocab(path), contains("its vocab is no whole number from 1 ('0')"));
    with({{"step", "1"}, {"vocab", "61"}});

    std::string flipped = good;
    flipped[good.size() - 3] ^= 4;
    directory.write("step-00000001" + state, flipped);
    says(other, "is damaged");
    fs::remove(path + state);
    says(other, "holds weights alone");
    fs::remove(path + "/model.safetensors");
    says(other, "cannot be read");
    CHECK(load_complaint(directory / "nowhere", other).find("nowhere/model.safetensors") !=
          std::string::npos);
}

TEST_CASE("weights alone, into another precision", "[checkpoint]") {
    const TemporaryDirectory directory;
    Run<float> run;
    run.train(2);
    save_checkpoint(directory / "", run.model, run.optimizer, {}, 0);
    Run<bf16> narrow;
    load_weights(directory / "step-00000002", narrow.model);
    const int q = run.model.table().sublayers[0].q;
    const std::vector<double> wide_q = run.model.values(q), narrow_q = narrow.model.values(q);
    for (size_t i = 0; i < wide_q.size(); i++)
        CHECK(narrow_q[i] == bf16(static_cast<float>(wide_q[i])));
    Run<float> wider(false, 16);
    CHECK_THROWS_AS(load_weights(directory / "step-00000002", wider.model), UserError);
    // a model with fewer tensors is another one: no norm and no layer is left out in silence
    for (const bool shallower : {false, true}) {
        ModelConfig less = run.model.config();
        if (shallower)
            less.layers--;
        else
            less.norm = "pre";
        resolve(less, "auto", Choice::automatic, Choice::automatic);
        Model<float> model(less, 1, 3);
        CHECK_THROWS_WITH(load_weights(directory / "step-00000002", model),
                          contains("which this model has not: give the flags"));
    }
}

// All weights again as another type, each tensor full of one value that the type can hold.
TEST_CASE("weights of every floating-point type", "[checkpoint]") {
    const TemporaryDirectory directory;
    const std::string path = directory / "model.safetensors";
    const auto write = [&](const std::string& dtype, const auto& number) {
        const Run<float> run;
        std::vector<TensorInfo> tensors;
        for (const Tensor& t : run.model.table().rows)
            tensors.push_back({t.name, dtype,
                               t.is_matrix() ? std::vector<size_t>{size_t(t.rows), size_t(t.cols)}
                                             : std::vector<size_t>{size_t(t.cols)}});
        SafetensorsWriter file(path, tensors, {});
        for (const Tensor& t : run.model.table().rows)
            file.write(std::vector(t.size(), number).data());
        file.close();
    };
    const auto reads = [&](const auto& number, double value) {
        Run<float> run;
        load_weights(path, run.model);
        for (int id = 0; id < static_cast<int>(run.model.table().rows.size()); id++)
            CHECK(run.model.values(id) == std::vector(run.model.values(id).size(), value));
        CHECK(static_cast<double>(number) == value);
    };
    write("F16", fp16(-0x3p-24f));
    reads(fp16(-0x3p-24f), -0x3p-24);
    write("F16", fp16(0x1.554p-2f));
    reads(fp16(0x1.554p-2f), 0x1.554p-2);
    write("BF16", bf16(0x1.56p-2f));
    reads(bf16(0x1.56p-2f), 0x1.56p-2);
    write("F64", 0.375);
    reads(0.375, 0.375);
    write("I32", 3);
    Run<float> run;
    CHECK_THROWS_WITH(load_weights(path, run.model),
                      contains("is I32: F64, F32, F16 and BF16 can be read"));
}

TEST_CASE("weights of a run are those of its newest checkpoint that is whole", "[checkpoint]") {
    const TemporaryDirectory directory;
    Run<float> run;
    const std::string out = directory / "run";
    fs::create_directory(out);
    directory.write("run/config.json", "{}");
    CHECK_THROWS_WITH(weights_of(out), contains("--init-from " + out + ": there is no whole"));
    run.train(2);
    save_best(out, run.model, 2, {});
    CHECK_THROWS_WITH(weights_of(out),
                      contains("name its best weights, " + out + "/best-00000002"));
    for (int i = 0; i < 3; i++) {
        run.train(1);
        save_checkpoint(out, run.model, run.optimizer, {}, 0);
    }
    const std::string newest = out + "/step-00000005";
    CHECK(weights_of(out) == newest);
    std::string bytes = read_text(newest + "/model.safetensors");
    bytes[bytes.size() - 3] ^= 4;
    directory.write("run/step-00000005/model.safetensors", bytes);
    CHECK(weights_of(out) == out + "/step-00000004");
    fs::remove(out + "/step-00000004/optimizer.safetensors");  // not needed
    CHECK(weights_of(out) == out + "/step-00000004");
    // what names weights itself is taken as it is, whole or not
    for (const std::string& path : {newest, newest + "/model.safetensors", out + "/best-00000002",
                                    directory / "nowhere", std::string()})
        CHECK(weights_of(path) == path);
}

TEST_CASE("a directory is no text file", "[checkpoint]") {
    const TemporaryDirectory directory;
    CHECK_THROWS_WITH(read_text(directory / "."), contains("Is a directory"));
    CHECK_THROWS_WITH(read_text(directory / "none"), contains("No such file"));
}
