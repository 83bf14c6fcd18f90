// The number types of the project, and the type each one is summed in.
#pragma once

namespace peri {

// T is how matrices and activations are stored; Accum<T> is how gradients, vectors (gammas,
// biases), statistics and moments are: double for double (the oracle), float for everything else.
template <class T>
struct AccumOf {
    using type = float;
};
template <>
struct AccumOf<double> {
    using type = double;
};
template <class T>
using Accum = typename AccumOf<T>::type;

}  // namespace peri
