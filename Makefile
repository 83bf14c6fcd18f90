# make deps    installs what Debian and Ubuntu need for all of the below
# make         builds ./train
# make test    builds and runs all tests
# make format  puts every source file into the house style
CXX ?= g++
MARCH ?= native
BUILD ?= build
comma := ,

# The OpenMP flavour of OpenBLAS, by its own path: the machine's default BLAS may be another one.
BLAS_DIR := $(firstword $(wildcard /usr/lib/*/openblas-openmp))
BLAS_FLAGS := $(if $(BLAS_DIR),-I$(subst /usr/lib,/usr/include,$(BLAS_DIR)))
BLAS_LIBS := $(if $(BLAS_DIR),-L$(BLAS_DIR) -Wl$(comma)-rpath$(comma)$(BLAS_DIR)) -lopenblas

# -fno-math-errno and -fno-trapping-math let loops become vector code; NaN and infinity stay what they
# are, so that a diverged run is seen.
CXXFLAGS ?= -O3 -g1
FLAGS := $(CXXFLAGS) -std=c++20 -march=$(MARCH) -fno-math-errno -fno-trapping-math -fopenmp \
    -Wall -Wextra -Werror -Isrc $(BLAS_FLAGS) -DSTORIES_GRAMMAR='"$(CURDIR)/data/stories.grammar"'
LIBS := $(BLAS_LIBS) -fopenmp

# The directories are the list of sources (CMakeLists.txt reads the same).
LIBRARY := $(patsubst %.cpp,$(BUILD)/%.o,$(wildcard src/*.cpp src/cpu/*.cpp))
TESTS := $(patsubst %.cpp,$(BUILD)/%.o,$(wildcard tests/*.cpp))

train: $(BUILD)/train.o $(LIBRARY)
	$(CXX) $(FLAGS) $^ $(LIBS) -o $@

$(BUILD)/tests/all: $(TESTS) $(LIBRARY)
	$(CXX) $(FLAGS) $^ $(LIBS) -o $@

$(BUILD)/%.o: %.cpp
	@mkdir -p $(@D)
	@echo "$(CXX) $<"
	@$(CXX) $(FLAGS) -MMD -MP -c $< -o $@
$(BUILD)/src/stories.o: data/stories.grammar

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

test: $(BUILD)/tests/all train
	$(BUILD)/tests/all

format:
	clang-format -i train.cpp $$(find src tests -name '*.cpp' -o -name '*.h')

clean:
	rm -rf $(BUILD) train

.PHONY: test format clean deps
