/* Preloaded by a test: OpenBLAS then claims the core it falls back to on processors it does not know. */
const char* openblas_get_corename(void);
const char* openblas_get_corename(void) { return "Prescott"; }
