#include "cpu/onednn.h"

#if !defined(NO_ONEDNN) && __has_include(<dnnl.hpp>)
#include <dnnl.hpp>
#include <map>
#include <optional>
#include <tuple>
#define HAVE_ONEDNN
#endif

namespace peri {

#ifdef HAVE_ONEDNN

namespace {

using dnnl::memory;

template <class Real>
constexpr memory::data_type type_of = memory::data_type::f32;
template <>
constexpr memory::data_type type_of<bf16> = memory::data_type::bf16;
template <>
constexpr memory::data_type type_of<fp16> = memory::data_type::f16;

// op(x) (rows,cols) of an x stored without gaps
template <class Real>
memory::desc describe(Op op, memory::dim rows, memory::dim cols) {
    const memory::dims strides = op == Op::none ? memory::dims{cols, 1} : memory::dims{1, rows};
    return {{rows, cols}, type_of<Real>, strides};
}

const dnnl::engine& engine() {
    static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
    return cpu;
}

// A product made ready for one shape.
struct Ready {
    dnnl::matmul matmul;
    memory a, b, c;
};

// Nothing where this processor has no such product.
template <class C, class Real>
std::optional<Ready> prepare(Op op_a, Op op_b, int M, int N, int K, bool add) {
    const memory::desc a = describe<Real>(op_a, M, K), b = describe<Real>(op_b, K, N);
    const memory::desc c = describe<C>(Op::none, M, N);
    dnnl::primitive_attr attributes;
    if (add) {
        dnnl::post_ops sum;
        sum.append_sum(1);
        attributes.set_post_ops(sum);
    }
    try {
#if DNNL_VERSION_MAJOR >= 3
        const dnnl::matmul::primitive_desc d(engine(), a, b, c, attributes);
#else
        const dnnl::matmul::primitive_desc d(dnnl::matmul::desc(a, b, c), attributes, engine());
#endif
        return Ready{dnnl::matmul(d), memory(a, engine(), nullptr), memory(b, engine(), nullptr),
                     memory(c, engine(), nullptr)};
    } catch (const dnnl::error&) {
        return {};
    }
}

}  // namespace

template <class C, class Real>
bool onednn_matmul(C* c, const Real* a, Op op_a, const Real* b, Op op_b, int M, int N, int K,
                   bool add) {
    static dnnl::stream stream(engine());
    static std::map<std::tuple<Op, Op, int, int, int, bool>, std::optional<Ready>> all;
    const auto [entry, is_new] = all.try_emplace({op_a, op_b, M, N, K, add});
    std::optional<Ready>& ready = entry->second;
    if (is_new) ready = prepare<C, Real>(op_a, op_b, M, N, K, add);
    if (!ready) return false;
    ready->a.set_data_handle(const_cast<Real*>(a));
    ready->b.set_data_handle(const_cast<Real*>(b));
    ready->c.set_data_handle(c);
    ready->matmul.execute(
        stream, {{DNNL_ARG_SRC, ready->a}, {DNNL_ARG_WEIGHTS, ready->b}, {DNNL_ARG_DST, ready->c}});
    stream.wait();
    return true;
}

std::string onednn_description() {
    const dnnl_version_t* const v = dnnl_version();
    return ", oneDNN " + std::to_string(v->major) + "." + std::to_string(v->minor) + "." +
           std::to_string(v->patch);
}

#else

std::string onednn_description() { return ""; }

template <class C, class Real>
bool onednn_matmul(C*, const Real*, Op, const Real*, Op, int, int, int, bool) {
    return false;
}

#endif

#define INSTANTIATE(C, Real) \
    template bool onednn_matmul(C*, const Real*, Op, const Real*, Op, int, int, int, bool);
INSTANTIATE(float, float)
INSTANTIATE(bf16, bf16)
INSTANTIATE(fp16, fp16)
INSTANTIATE(float, bf16)
INSTANTIATE(float, fp16)
#undef INSTANTIATE

}  // namespace peri
