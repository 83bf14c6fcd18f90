// cblas, from the library that the build found: OpenBLAS, or Accelerate on a Mac without it.
#pragma once

#ifdef USE_ACCELERATE
#define ACCELERATE_NEW_LAPACK
#include <Accelerate/Accelerate.h>
#else
#include <cblas.h>
#endif
