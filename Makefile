# make deps    installs what is needed for all of the below (apt, dnf, pacman, apk, brew)
# make         builds ./train; make single  the one-file trainer, reference/peri.cpp
# make test    builds and runs all tests; make test-grid the slow ones; make test-conformance the
#              kernels' suite alone; make test-sim the same suite on a simulated GPU; make test-halved
#              all tolerances halved; make test-faults what the tests find of planted faults
# make train_mpi  the same program for many processes (make deps-mpi; mpirun -n 4 ./train_mpi); make
#              check-mpi tests it
# make check-ptx  registers, spills and wide loads of the CUDA kernels (needs nvcc, no GPU)
# make train_cuda  the same program for NVIDIA GPUs, one or, with MPI and NCCL, many; make train_sim and
#              make train_sim_mpi for simulated ones
#              (make deps-cudnn fetches what attention by cuDNN needs; make check-cudnn asks cuDNN to plan it)
# make check-hip  the CUDA files compiled as HIP's, for AMD's GPUs (make deps-hip)
# make train_port PORT=DIR  the same with your kernels in DIR; make test-port PORT=DIR tests them
#              (gpu/PORTING.md); PORT=ports/opencl is one (make deps-opencl), make check-opencl tests it,
#              make test-faults-opencl with planted faults; make bench_port PORT=DIR times a port beside the CPU
# make test-machines  the tests as other processors, compilers and orders of sums run them
# make check-precision  fp16 trains as fp32 does
# make check-travel  a run goes on with other threads, another precision and on another machine
# make test-asan   the readers of files under AddressSanitizer and UBSan
# make test-tsan   the CPU's kernels under ThreadSanitizer; make check-uninitialised  a step under valgrind
# make fuzz    each of them on any bytes, 10 seconds; FUZZ_SECONDS=3600 is the long mode (clang); make
#              fuzz-total counts executions of all runs, make fuzz-coverage which lines they reach
# make experiments  the paper's figures and tables (hours; stop it and start it again as you like;
#                   MINUTES=20 starts no run after so many, FAST=1 is a smoke test); make figures draws
# make check-hf    exported models compute the same in Hugging Face transformers
# make format  puts every source file into the house style
# make bench   speed of steps and kernels; make bench-compare a step beside one of PyTorch;
#              make bench-ranks processes against threads; make bench_cuda kernels and steps on a GPU
MAKEFLAGS += -j$(shell nproc 2> /dev/null || sysctl -n hw.ncpu 2> /dev/null || echo 2)
CXX ?= g++
MARCH ?= native
OPENMP ?=
BUILD ?= build
comma := ,
hash := \#

# WERROR=-Werror in CI: a warning of a compiler we have not met should not stop a user.
WERROR ?=
# -fno-math-errno and -fno-trapping-math let loops become vector code; NaN and infinity stay what they
# are, so that a diverged run is seen.
CXXFLAGS ?= -O3 -g1
LDFLAGS ?=

# What the compiler takes and which libraries are here (make/probe.sh): -march=$(MARCH) or what it has
# for it, OpenMP (OPENMP=no does without), OpenBLAS (BLAS_DIR names its folder), oneDNN, Catch2.
BLAS_DIR ?=
$(shell CXX='$(CXX)' MARCH='$(MARCH)' OPENMP='$(OPENMP)' BLAS_DIR='$(BLAS_DIR)' PROBE_FLAGS='$(CXXFLAGS) $(LDFLAGS)' \
    make/probe.sh $(BUILD)/probed)
-include $(BUILD)/probed
FLAGS := $(strip $(CXXFLAGS) -std=c++20 $(PROBED_FLAGS) $(OPENMP_FLAGS) \
    -Wall -Wextra $(WERROR) $(WARNING_FLAGS) -Isrc $(BLAS_FLAGS) $(PATH_FLAGS))
# where data/ is, for the files alone that ask: objects of two clones are then the same to a cache
DATA := -DDATA_DIRECTORY='"$(CURDIR)/data"'
%/stories.o %/export_hf.o %/view.o %/bands.o %/test_fit.o %/test_export_hf.o: FLAGS += $(DATA)
$(BUILD)/tests/test_program.o: FLAGS += -DPRESCOTT_SHIM='"$(abspath $(BUILD))/tests/prescott_shim.so"'
%/onednn.o: FLAGS += $(if $(ONEDNN),,-DNO_ONEDNN)
LIBS := $(LDFLAGS) $(PROBED_LIBS) -lz $(THREAD_LIBS)

NEEDED := install a C++20 compiler with OpenMP, OpenBLAS built with OpenMP (and its cblas.h), cxxopts, nlohmann-json, zlib; \
    for the tests Catch2. With apt, dnf, pacman, apk or brew: make deps

# The directories are the list of sources (CMakeLists.txt reads the same).
CPU := $(patsubst %.cpp,$(BUILD)/%.o,$(wildcard src/cpu/*.cpp))
COMM := $(patsubst %.cpp,$(BUILD)/%.o,$(wildcard src/comm/*.cpp))
ALONE := $(BUILD)/src/comm/alone.o
ROOMS := $(filter-out $(CPU) $(COMM),$(patsubst %.cpp,$(BUILD)/%.o,$(wildcard src/*.cpp src/*/*.cpp)))
HOUSE := $(ROOMS) $(ALONE)
LIBRARY := $(HOUSE) $(CPU)
TESTS := $(patsubst %.cpp,$(BUILD)/%.o,$(wildcard tests/*.cpp)) $(BUILD)/tests/conformance/suite.o
CONFORMANCE := $(patsubst %.cpp,$(BUILD)/%.o,$(wildcard tests/conformance/*.cpp))
$(BUILD)/tests/%.o: FLAGS += -Itests

train $(BUILD)/train: $(BUILD)/train.o $(LIBRARY)
	@echo "$(CXX) -o $@"
	@$(CXX) $(FLAGS) $^ $(LIBS) -o $@
	@echo "./$@: $(BUILT_WITH); without $(BUILT_WITHOUT)"

# many processes, over MPI (make deps-mpi)
MPI := $(BUILD)/train.o $(ROOMS) $(CPU) $(addprefix $(BUILD)/src/comm/,collectives.o mpi.o)
MPI_FLAGS := $(shell mpicxx --showme:compile 2> /dev/null)
MPI_LIBS := $(shell mpicxx --showme:link 2> /dev/null)
%/comm/mpi.o %/nccl.o: FLAGS += $(MPI_FLAGS)
train_mpi: $(MPI)
	@echo "$(CXX) -o $@"
	@$(CXX) $(FLAGS) $^ $(LIBS) $(MPI_LIBS) -o $@

$(BUILD)/tests/mpi/collectives: $(BUILD)/tests/mpi/collectives.o $(filter-out $(BUILD)/train.o,$(MPI))
	@echo "$(CXX) -o $@"
	@$(CXX) $(FLAGS) $^ $(LIBS) $(MPI_LIBS) -o $@

# processes over MPI: their collectives, the same bits for any number of them, killed, stopped and
# interrupted; MPI_KILLS=50 is the long form
MPI_KILLS ?= 6
check-mpi:
	@if command -v mpirun > /dev/null && command -v mpicxx > /dev/null && command -v pgrep > /dev/null; then \
	    $(MAKE) --no-print-directory train train_mpi train_sim_mpi $(BUILD)/tests/mpi/collectives $(BUILD)/tests/mpi/collectives_sim && \
	    tests/check_mpi.sh $(BUILD)/tests/mpi/collectives $(MPI_KILLS) && \
	    tests/planted_mpi.sh "$(CXX) $(FLAGS) $(MPI_FLAGS)" "$(MPI)" "$(LIBS) $(MPI_LIBS)" $(BUILD)/planted-mpi "$(BUILD)/train.o $(SIM_MPI)"; \
	else echo "skipped: check-mpi (no MPI or no pgrep here: make deps-mpi)"; fi

# the whole trainer in one file
single: reference/peri.cpp $(BUILD)/flags
	@echo "$(CXX) $< -o $@"
	@$(CXX) $(FLAGS) $< -o $@
$(BUILD)/tests/test_reference.o: reference/peri.cpp

$(BUILD)/tests/all: $(TESTS) $(LIBRARY)
	@echo "$(CXX) -o $@"
	@$(CXX) $(FLAGS) $^ $(LIBS) $(CATCH) -o $@

# the kernels' suite, here and below with each backend that it is linked with
$(BUILD)/tests/conformance_cpu: $(CONFORMANCE) $(LIBRARY)
	@echo "$(CXX) -o $@"
	@$(CXX) $(FLAGS) $^ $(LIBS) -o $@

# Says what to install, where the first compilation would only say which header it did not find.
$(BUILD)/found:
	@mkdir -p $(@D)
	@printf '$(hash)include "cpu/blas.h"\n$(hash)include <cxxopts.hpp>\n$(hash)include <nlohmann/json.hpp>\n$(hash)include <zlib.h>\n' | \
	    $(CXX) $(FLAGS) -x c++ -fsyntax-only - || { echo "Missing above: $(NEEDED)" >&2; exit 2; }
	@touch $@

# Changes when the flags do, so that objects of another CXX or MARCH are not kept.
ifneq ($(shell cat $(BUILD)/flags 2> /dev/null),$(CXX) $(FLAGS))
$(shell mkdir -p $(BUILD) && echo '$(CXX) $(FLAGS)' > $(BUILD)/flags)
endif

$(BUILD)/%.o: %.cpp $(BUILD)/flags | $(BUILD)/found
	@mkdir -p $(@D)
	@echo "$(CXX) $<"
	@$(CXX) $(FLAGS) -MMD -MP -c $< -o $@
$(BUILD)/src/data/stories.o: data/stories.grammar
$(BUILD)/src/jobs/export_hf.o: $(wildcard data/hf/*_peri.py)
$(BUILD)/src/jobs/view.o: data/view.html
$(BUILD)/src/jobs/bands.o: data/bands.json

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

# ---- the CUDA backend: double, the oracle, from src/cpu; float, bf16 and fp16 from gpu/ ---------

NVCC ?= nvcc
CUDA_HOME ?= $(patsubst %/bin/nvcc,%,$(realpath $(shell command -v $(NVCC) 2> /dev/null)))
NVCC_COMMON := -std=c++20 -O3 -lineinfo --expt-relaxed-constexpr -Isrc -Igpu
NVCC_FLAGS := $(NVCC_COMMON) \
    -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=[sm_90,compute_90]
DOUBLE := $(ROOMS) $(patsubst $(BUILD)/%,$(BUILD)/oracle/%,$(CPU))
ORACLE := $(DOUBLE) $(ALONE)
# many GPUs, by NCCL where it and MPI are: what is linked in place of alone.o
NCCL := $(and $(MPI_FLAGS),$(wildcard $(CUDA_HOME)/include/nccl.h /usr/include/nccl.h))
BETWEEN := $(BUILD)/src/comm/collectives.o $(BUILD)/oracle/src/comm/mpi.o
GPU := $(patsubst gpu/%.cu,%.o,$(wildcard gpu/*.cu))

$(BUILD)/oracle/%.o: %.cpp $(BUILD)/flags | $(BUILD)/found
	@mkdir -p $(@D)
	@echo "$(CXX) $< (double alone)"
	@$(CXX) $(FLAGS) -DBACKEND_ELSEWHERE -MMD -MP -c $< -o $@

$(BUILD)/gpu/%.o: gpu/%.cu Makefile
	@mkdir -p $(@D)
	@echo "$(NVCC) $<"
	@$(NVCC) $(NVCC_FLAGS) -MMD -MP -c $< -o $@

# attention by cuDNN, where it and the headers of cudnn-frontend are (make deps-cudnn fetches these;
# CUDNN_FRONTEND names their folder)
CUDNN_FRONTEND ?= $(BUILD)/cudnn-frontend/include
CUDNN := $(and $(wildcard $(CUDA_HOME)/include/cudnn.h /usr/include/cudnn.h),$(wildcard $(CUDNN_FRONTEND)/cudnn_frontend.h))
CUDNN_FLAGS := -DNV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING -iquote gpu -isystem $(CUDNN_FRONTEND) -isystem $(CUDA_HOME)/include
# without optimisation: the headers are large, and all of it is host code that launches
$(BUILD)/gpu/attention_cudnn.o $(BUILD)/tests/cuda/cudnn_plans.o: FLAGS += -O0 $(CUDNN_FLAGS)

# builds without a GPU, runs with one
CUDA := $(DOUBLE) $(addprefix $(BUILD)/gpu/,$(GPU) $(if $(CUDNN),attention_cudnn.o,no_cudnn.o)) $(if $(NCCL),$(BETWEEN) $(BUILD)/src/comm/nccl.o,$(ALONE))
CUDA_LIBS := -L$(CUDA_HOME)/lib64 -Wl,-rpath,$(CUDA_HOME)/lib64 -lcublasLt -lcudart $(if $(CUDNN),-lcudnn) $(if $(NCCL),-lnccl $(MPI_LIBS))
$(BUILD)/src/comm/nccl.o: FLAGS += -Igpu -isystem $(CUDA_HOME)/include
train_cuda $(BUILD)/train_cuda: $(BUILD)/train.o $(CUDA)
	@echo "$(CXX) -o $@"
	@$(CXX) $(FLAGS) $^ $(LIBS) $(CUDA_LIBS) -o $@
	@echo "./$@: $(if $(NCCL),one GPU or many,one GPU; many need MPI (make deps-mpi) and NCCL); attention by $(if $(CUDNN),cuDNN or ,)the own kernels$(if $(CUDNN),, alone: cuDNN or its frontend (make deps-cudnn) is missing)"

$(BUILD)/tests/conformance_cuda: $(CONFORMANCE) $(CUDA)
	@echo "$(CXX) -o $@"
	@$(CXX) $(FLAGS) $^ $(LIBS) $(CUDA_LIBS) -o $@

# registers, spills, shared memory and 16-byte loads of each kernel against gpu/registers.txt
PTX := $(BUILD)/ptx
$(PTX)/%.cubin: gpu/%.cu Makefile
	@mkdir -p $(@D)
	@echo "$(NVCC) $< (ptxas -v)"
	@$(NVCC) $(NVCC_COMMON) -arch=sm_90 -cubin -Xptxas -v -MMD -MP $< -o $@ 2> $(@:.cubin=.log) || { cat $(@:.cubin=.log); exit 1; }
ptx-logs: $(patsubst %.o,$(PTX)/%.cubin,$(GPU))
	@:
check-ptx accept-ptx:
	@if command -v $(NVCC) > /dev/null; then \
	    $(MAKE) --no-print-directory ptx-logs && NVCC=$(NVCC) gpu/check_ptx.sh $(PTX) $(filter accept,$(@:-ptx=)); \
	else echo "skipped: $@ (no nvcc here)"; fi

# The CUDA files as HIP's, for AMD's GPUs: compiled, not run. Products by cuBLASLt and attention by tensor cores
# are left out.
HIP_ARCHITECTURES ?= gfx90a gfx1030
HIP_FILES := $(filter-out gpu/matmul.cu gpu/attention_tiles.cu,$(wildcard gpu/*.cu))
HIP_OBJECTS := $(HIP_FILES:gpu/%.cu=$(BUILD)/hip/%.o)
$(BUILD)/hip/%.o: gpu/%.cu $(wildcard gpu/*.h gpu/hip/*.h src/*.h)
	@mkdir -p $(@D)
	@echo "hipcc $<"
	@hipcc $(HIP_ARCHITECTURES:%=--offload-arch=%) -std=c++20 -O2 -Wall -Wextra $(WERROR) -Igpu/hip -Igpu -Isrc -x hip -c $< -o $@
check-hip:
	@if command -v hipcc > /dev/null; then $(MAKE) --no-print-directory hip-objects; \
	else echo "skipped: check-hip (no hipcc here: make deps-hip)"; fi
hip-objects: $(HIP_OBJECTS)
	@echo "$(words $^) of $(words $(wildcard gpu/*.cu)) CUDA files are HIP's too, for $(HIP_ARCHITECTURES)"

# What of attention by cuDNN a machine without a GPU can be asked: cuDNN plans the graphs for an H100, as
# far as loading the kernels, with the driver's stub from the CUDA folder in a driver's place.
$(BUILD)/tests/cuda/cudnn_plans: $(BUILD)/tests/cuda/cudnn_plans.o
	@echo "$(CXX) -o $@"
	@$(CXX) $(FLAGS) $^ $(CUDA_LIBS) -o $@
check-cudnn:
	@if [ -n "$(CUDNN)" ]; then $(MAKE) --no-print-directory $(BUILD)/tests/cuda/cudnn_plans && \
	    ln -sf $(CUDA_HOME)/lib64/stubs/libcuda.so $(BUILD)/tests/cuda/libcuda.so.1 && \
	    LD_LIBRARY_PATH=$(BUILD)/tests/cuda $(BUILD)/tests/cuda/cudnn_plans; \
	else echo "skipped: check-cudnn (no cuDNN or no cudnn-frontend here: make deps-cudnn)"; fi

# ---- a port (gpu/PORTING.md): PORT names a directory whose files take their namesakes' places -----

PORT ?=
PORT_CC ?= $(CXX)
PORT_DIR := $(patsubst %/,%,$(PORT))
# flags and libraries of the port's own (override PORT_FLAGS += ...)
-include $(if $(PORT),$(wildcard $(PORT_DIR)/port.mk))
PORT_BUILD := $(BUILD)/port/$(notdir $(abspath $(PORT)))
# the names of src/cpu's files that a port's may have
KERNELS := device $(filter-out main suite,$(basename $(notdir $(CONFORMANCE))))
# what is read by others, or only lies there; the rest is compiled, and in folders helpers of the same kinds
PORT_READ := %.h %.hpp %.cuh %.inc %.cl %.metal
PORT_BESIDE := %.md %.txt %.mk %.py %.sh %~
PORT_FILES := $(if $(PORT),$(wildcard $(PORT_DIR)/*.*))
PORT_DEEPER := $(if $(PORT),$(wildcard $(PORT_DIR)/*/*.*))
PORT_KERNELS := $(filter-out $(PORT_READ) $(PORT_BESIDE),$(PORT_FILES))
PORT_SOURCES := $(PORT_KERNELS) $(filter $(addprefix %,.cpp $(suffix $(PORT_KERNELS))),$(PORT_DEEPER))
PORT_OBJECTS := $(PORT_SOURCES:$(PORT_DIR)/%=$(PORT_BUILD)/%.o)
# of the CPU's files whose places are taken double alone is linked
PORTED := $(addprefix $(BUILD)/src/cpu/,$(addsuffix .o,$(basename $(notdir $(PORT_KERNELS)))))
PORT_LIBRARY := $(HOUSE) $(filter-out $(PORTED),$(CPU)) \
    $(patsubst $(BUILD)/%,$(BUILD)/oracle/%,$(filter $(PORTED),$(CPU))) $(PORT_OBJECTS)

# refuses what is no port; changes when its list of files, a file that others read, flags, compilers or libraries do
$(PORT_BUILD)/stamp: export ASKED = $(abspath $(PORT)): $(PORT_SOURCES), $(FLAGS), $(PORT_FLAGS), $(LIBS), $(PORT_LIBS)
$(PORT_BUILD)/stamp: FORCE
	@PORT='$(PORT)' CXX='$(CXX)' PORT_CC='$(PORT_CC)' make/port_files.sh $@ '$(KERNELS)' '$(PORT_SOURCES)' '$(filter $(PORT_READ),$(PORT_FILES) $(PORT_DEEPER))'
# changes when what the file holds does, whatever its date
$(PORT_OBJECTS:.o=.sum): $(PORT_BUILD)/%.sum: $(PORT_DIR)/% FORCE
	@mkdir -p $(@D)
	@cksum < $< | cmp -s - $@ || cksum < $< > $@

$(PORT_BUILD)/%.cpp.o: $(PORT_DIR)/%.cpp $(PORT_BUILD)/%.cpp.sum $(PORT_BUILD)/stamp | $(BUILD)/found
	$(CXX) $(FLAGS) $(PORT_FLAGS) -MMD -MP -c $< -o $@
$(PORT_BUILD)/%.o: $(PORT_DIR)/% $(PORT_BUILD)/%.sum $(PORT_BUILD)/stamp $(wildcard src/*.h src/*/*.h gpu/*.h)
	$(PORT_CC) $(PORT_FLAGS) -Isrc -c $< -o $@

# linked each time: ./train_port may be another port's, and a library may have changed
train_port: $(PORT_BUILD)/stamp $(BUILD)/train.o $(PORT_LIBRARY) FORCE
	@make/port_kernels.sh '$(PORT_DIR)' $(BUILD) '$(KERNELS)' $(filter %.o,$^)
	$(CXX) $(FLAGS) $(filter %.o,$^) $(LIBS) $(PORT_LIBS) -o $@

$(PORT_BUILD)/conformance: $(PORT_BUILD)/stamp $(CONFORMANCE) $(PORT_LIBRARY) FORCE
	@make/port_kernels.sh '$(PORT_DIR)' $(BUILD) '$(KERNELS)' $(filter %.o,$^) > $(@D)/kernels
	$(CXX) $(FLAGS) $(filter %.o,$^) $(LIBS) $(PORT_LIBS) -o $@

$(PORT_BUILD)/host_pointer: $(BUILD)/tests/port/host_pointer.o $(PORT_LIBRARY)
	$(CXX) $(FLAGS) $^ $(LIBS) $(PORT_LIBS) -o $@

# PORT_CASES chooses a part of the suite
test-port: $(PORT_BUILD)/conformance
	$< --quiet --kernels $(<D)/kernels $(PORT_CASES)
FORCE:

# the port that everybody can run: its kernels, a few steps beside the oracle, and no device at all
check-opencl:
	@if echo 'int main() {}' | $(CXX) -x c++ -include CL/cl.h -include clblast.h - -lclblast -lOpenCL -o $(BUILD)/has_opencl 2> /dev/null && \
	    ls /etc/OpenCL/vendors/*.icd > /dev/null 2>&1; then \
	    $(MAKE) --no-print-directory test-port PORT=ports/opencl && \
	    OPENCL_AS=gpu $(BUILD)/port/opencl/conformance --quiet --type bf16 && \
	    $(MAKE) --no-print-directory train_port $(BUILD)/port/opencl/host_pointer PORT=ports/opencl && \
	    tests/check_opencl.sh ./train_port $(BUILD)/port/opencl/host_pointer; \
	else echo "skipped: check-opencl (no OpenCL, CLBlast or driver here: make deps-opencl)"; fi

# what the suite finds of faults in OpenCL's kernels
test-faults-opencl:
	@$(MAKE) --no-print-directory test-faults-port PORT=ports/opencl
test-faults-port: export COMPILE = $(CXX) $(FLAGS) $(PORT_FLAGS)
test-faults-port: $(PORT_BUILD)/conformance
	@tests/planted_port.sh $(PORT_DIR) '$(CONFORMANCE) $(PORT_LIBRARY)' '$(LIBS) $(PORT_LIBS)' $(PORT_BUILD)/faults

# each kernel of a port and the CPU's at the same sizes
BENCH_SIZES ?= B=16 T=128 C=128 H=4 F=384 V=256
bench_port: $(PORT_BUILD)/conformance $(BUILD)/tests/conformance_cpu
	@tests/bench/port.sh $(PORT_BUILD)/conformance $(BUILD)/tests/conformance_cpu '$(BENCH_SIZES)' $(PORT_CASES)

# the same .cu files by the host's compiler, run thread by thread on the CPU (gpu/sim)
SIMULATOR := $(addprefix $(BUILD)/sim/,$(GPU)) $(BUILD)/gpu/no_cudnn.o $(patsubst %.cpp,$(BUILD)/%.o,$(wildcard gpu/sim/*.cpp))
SIM_FLAGS := -Igpu/sim -Igpu -Wno-unknown-pragmas -fno-strict-aliasing $(if $(filter x86_64,$(shell uname -m)),-DFAST_SWITCH)

$(BUILD)/sim/%.o: gpu/%.cu $(BUILD)/flags | $(BUILD)/found
	@mkdir -p $(@D)
	@echo "$(CXX) $< (simulator)"
	@$(CXX) $(FLAGS) $(SIM_FLAGS) -MMD -MP -x c++ -c $< -o $@
$(BUILD)/gpu/sim/%.o: FLAGS += $(SIM_FLAGS)

train_sim $(BUILD)/train_sim: $(BUILD)/train.o $(ORACLE) $(SIMULATOR)
	@echo "$(CXX) -o $@"
	@$(CXX) $(FLAGS) $^ $(LIBS) -o $@

# many of them: NCCL's part is taken by messages of MPI (gpu/sim/nccl)
SIM_MPI := $(DOUBLE) $(SIMULATOR) $(BETWEEN) $(BUILD)/sim/src/comm/nccl.o $(BUILD)/gpu/sim/nccl/nccl.o
$(BUILD)/sim/src/comm/nccl.o $(BUILD)/gpu/sim/nccl/nccl.o: FLAGS += -Igpu/sim/nccl
$(BUILD)/sim/src/%.o: src/%.cpp $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "$(CXX) $< (simulator)"
	@$(CXX) $(FLAGS) $(SIM_FLAGS) -MMD -MP -c $< -o $@
train_sim_mpi: $(BUILD)/train.o $(SIM_MPI)
	@echo "$(CXX) -o $@"
	@$(CXX) $(FLAGS) $^ $(LIBS) $(MPI_LIBS) -o $@
$(BUILD)/tests/mpi/collectives_sim: $(BUILD)/tests/mpi/collectives.o $(SIM_MPI)
	@echo "$(CXX) -o $@"
	@$(CXX) $(FLAGS) $^ $(LIBS) $(MPI_LIBS) -o $@

$(BUILD)/tests/conformance_sim: $(CONFORMANCE) $(ORACLE) $(SIMULATOR)
	@echo "$(CXX) -o $@"
	@$(CXX) $(FLAGS) $^ $(LIBS) -o $@

# the simulator's own tests: every rule it enforces is broken once
$(BUILD)/tests/sim/%.o: FLAGS += $(SIM_FLAGS)
$(BUILD)/tests/sim_rules: $(patsubst %.cpp,$(BUILD)/%.o,$(wildcard tests/sim/test_*.cpp)) $(patsubst %.cpp,$(BUILD)/%.o,$(wildcard gpu/sim/*.cpp)) $(BUILD)/gpu/no_cudnn.o
	@echo "$(CXX) -o $@"
	@$(CXX) $(FLAGS) $^ $(CATCH) -o $@

test-sim: $(BUILD)/tests/sim_rules $(BUILD)/tests/conformance_sim
	$(BUILD)/tests/sim_rules
	$(BUILD)/tests/conformance_sim --backend cuda --quiet
	for type in bf16 fp16; do \
	    SIM_TRUNCATE=1 $(BUILD)/tests/conformance_sim --backend cuda --quiet --type $$type attention || exit 1; \
	done # as tensor cores add

# The suite with kernels that ThreadSanitizer watches. The oracle is compiled without it, and so is
# simulator.cpp, which says why.
TSAN := $(BUILD)/tsan
TSAN_FLAGS = $(FLAGS) $(SIM_FLAGS) -Itests -O1 -g -fsanitize=thread
TSAN_OBJECTS := $(patsubst %.cpp,$(TSAN)/%.o,$(wildcard tests/conformance/*.cpp) gpu/sim/memory.cpp gpu/sim/cublasLt.cpp) \
    $(addprefix $(TSAN)/gpu/,$(GPU)) $(BUILD)/gpu/no_cudnn.o $(BUILD)/gpu/sim/simulator.o $(ORACLE)
# What takes a minute or two so: of attention, linear and head_loss a few small cases alone.
TSAN_CASES := norm rope activation embedding residual few_bits adamw sgd sum_of_squares clip_scale \
    'attention B=2 Tq=5 Tk=12 first=6 H=4 KV=2 D=3 documents=yes type=float seed=1' \
    'attention B=2 Tq=5 Tk=12 first=6 H=4 KV=2 D=3 documents=yes type=bf16 seed=1' \
    'attention B=1 Tq=17 Tk=17 first=0 H=1 KV=1 D=64 documents=yes type=float seed=1' \
    'attention B=1 Tq=17 Tk=17 first=0 H=1 KV=1 D=64 documents=yes type=bf16 seed=1' \
    'attention B=1 Tq=3 Tk=67 first=64 H=2 KV=1 D=80 documents=no type=bf16 seed=1' \
    'attention B=1 Tq=3 Tk=67 first=64 H=2 KV=1 D=80 documents=no type=fp16 seed=1' \
    'linear R=13 C=17 O=11 bias=yes dx=add dw=yes dbias=yes tuned=no type=float seed=1' \
    'linear R=13 C=17 O=11 bias=yes dx=add dw=yes dbias=yes tuned=no type=bf16 seed=1' \
    'head_loss R=3 C=9 V=257 tuned=no z_loss=0.1 loss_scale=0 type=float seed=1' \
    'head_loss R=7 C=5 V=11 tuned=no z_loss=0 loss_scale=0 type=bf16 seed=1' \
    'head_loss R=7 C=5 V=11 tuned=no z_loss=0.1 loss_scale=1024 type=fp16 seed=1'
$(TSAN)/%.o: %.cpp $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "$(CXX) $< (ThreadSanitizer)"
	@$(CXX) $(TSAN_FLAGS) -MMD -MP -c $< -o $@
$(TSAN)/gpu/%.o: gpu/%.cu $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "$(CXX) $< (ThreadSanitizer)"
	@$(CXX) $(TSAN_FLAGS) -MMD -MP -x c++ -c $< -o $@
$(TSAN)/conformance: $(TSAN_OBJECTS)
	@echo "$(CXX) -o $@"
	@$(CXX) $(TSAN_FLAGS) $^ $(LIBS) -o $@

# whole training steps on the simulator, tensor by tensor: two minutes
check-sim: train train_sim
	tests/check_training.sh

# Planted races are found by ThreadSanitizer, at both lines; kernels without one are silent.
$(BUILD)/race: tests/sim/race.cpp gpu/sim/simulator.cpp gpu/sim/memory.cpp $(wildcard gpu/sim/*.h)
	@mkdir -p $(@D)
	$(CXX) -std=c++20 -O1 -g $(SIM_FLAGS) -Isrc -c gpu/sim/simulator.cpp -o $(BUILD)/race_simulator.o
	$(CXX) -std=c++20 -O1 -g -fsanitize=thread $(SIM_FLAGS) -Isrc -Itests tests/sim/race.cpp gpu/sim/memory.cpp \
	    $(BUILD)/race_simulator.o -o $@
sim-race: $(BUILD)/race $(TSAN)/conformance
	TSAN_OPTIONS=atexit_sleep_ms=0 $(BUILD)/race clean
	for fault in no-barrier no-second-barrier no-syncwarp no-atomic; do \
	    ! TSAN_OPTIONS=atexit_sleep_ms=0 $(BUILD)/race $$fault > $(BUILD)/race.log 2>&1 && \
	    grep -c "data race" $(BUILD)/race.log || { cat $(BUILD)/race.log; echo "$$fault: not found"; exit 1; }; \
	done
	OMP_NUM_THREADS=1 $(TSAN)/conformance --backend cuda --quiet $(TSAN_CASES)
	tests/sim/planted_races.sh "$(CXX) $(TSAN_FLAGS)" " $(TSAN_OBJECTS) $(LIBS)" $(TSAN)

test: $(BUILD)/tests/all $(BUILD)/tests/prescott_shim.so train single test-conformance test-experiments test-prepare test-docs test-view test-lost test-versions
	TRAIN=./train $(BUILD)/tests/all

test-conformance: $(BUILD)/tests/conformance_cpu
	$(BUILD)/tests/conformance_cpu --backend cpu --seeds 3 --quiet

# What of the tests compares numbers, with every tolerance halved: none lives on the edge of what it
# allows.
test-halved: $(BUILD)/tests/all $(BUILD)/tests/conformance_cpu
	TOLERANCE=0.5 $(BUILD)/tests/all "~[program]~[.]"
	TOLERANCE=0.5 $(BUILD)/tests/conformance_cpu --backend cpu --seeds 3 --quiet

# Faults planted in the sources one at a time: the tests find each of them.
test-faults: $(BUILD)/tests/all $(BUILD)/tests/conformance_cpu
	tests/planted_faults.sh "$(CXX) $(FLAGS)" "$(LIBRARY)" "$(TESTS)" "$(CONFORMANCE)" "$(LIBS) $(CATCH)" $(BUILD)/faults

# The tests as other machines, compilers and orders of sums would run them; MACHINES="v2 clang-22"
# chooses some. What is not here is skipped by name; `make deps-compilers deps-cross` installs it.
MACHINES_ROOT := build/machines
test-machines:
	@ROOT=$(MACHINES_ROOT) tests/machines.sh $(MACHINES)

# ---- the paper's measurements (experiments/) -------------------------------------------------------

# RECIPES chooses some of them
experiments: train
	python3 experiments/report.py run $(if $(MINUTES),--minutes $(MINUTES)) $(RECIPES)
figures: train
	python3 experiments/report.py

# the rules that turn measurements into verdicts, on planted results
test-experiments: train
	@if command -v python3 > /dev/null; then TRAIN=./train python3 -m unittest discover -q -s tests -p 'test_experiments*.py' && TRAIN=./train python3 -m unittest discover -q -s tests -p 'test_report*.py'; \
	else echo "skipped: test-experiments (no python3 here)"; fi

# links, tables and quick commands of the README and of docs/
test-docs: train
	@if command -v python3 git > /dev/null; then TRAIN=./train python3 -m unittest discover -q -s tests -p 'test_docs.py'; \
	else echo "skipped: test-docs (no python3 and git here)"; fi

# nothing is lost: a run's directory after accidents and in hostile hands
test-lost: train
	@if command -v python3 > /dev/null; then TRAIN=./train python3 -m unittest discover -q -s tests -p 'test_lost.py'; \
	else echo "skipped: test-lost (no python3 here)"; fi

# checkpoints and settings of strangers: bounded, one sentence, nothing written or read elsewhere; so many of
# them at random (HOSTILE=3000 is the long form)
HOSTILE ?= 40
check-hostile: train
	TRAIN=./train HOSTILE=$(HOSTILE) python3 -m unittest discover -q -s tests -p 'test_hostile.py'

# runs of every version whose files differ go on today (tests/checkpoints)
test-versions: train
	@if command -v python3 > /dev/null; then TRAIN=./train python3 -m unittest discover -q -s tests -p 'test_old_checkpoints.py'; \
	else echo "skipped: test-versions (no python3 here)"; fi

# what shows a run: the page of --view in a browser, the terminal, TensorBoard's files (check-events)
test-view: train
	@if ! command -v python3 > /dev/null; then echo "skipped: test-view (no python3 here)"; exit 0; fi; \
	TRAIN=./train python3 -m unittest discover -q -s tests -p 'test_terminal.py' && \
	if ! for browser in chromium chromium-browser google-chrome; do command -v $$browser; done | grep -q .; then echo "skipped: test_view.py (no Chromium here)"; \
	else TRAIN=./train python3 -m unittest discover -q -s tests -p 'test_view.py'; fi

# data/prepare.py and data/fetch.sh; PYTHON=... names a Python that has tiktoken
test-prepare: train
	@python=$(or $(PYTHON),$$(command -v python3)); \
	if [ -n "$$python" ]; then TRAIN=./train $$python -m unittest discover -q -s tests -p 'test_prepare.py'; \
	else echo "skipped: test-prepare (no python3 here)"; fi

# ---- the readers of files: sanitizers, fuzzers ----------------------------------------------------

READERS := batch config placement run/flags run/settings store/files store/safetensors store/saved \
    $(patsubst src/%.cpp,%,$(wildcard src/data/*.cpp))
SANITIZE := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all

# Their tests, and they themselves, under AddressSanitizer and UBSan. The model is what it is elsewhere,
# and so are warnings: GCC's are mistaken about sanitized code.
ASAN := $(BUILD)/asan
ASAN_TESTED := safetensors checkpoint data settings samples
ASAN_SOURCES := $(READERS) store/checkpoint
ASAN_OBJECTS := $(ASAN_SOURCES:%=$(ASAN)/src/%.o) $(ASAN_TESTED:%=$(ASAN)/tests/test_%.o) $(BUILD)/tests/main.o \
    $(filter-out $(ASAN_SOURCES:%=$(BUILD)/src/%.o),$(LIBRARY))
$(ASAN)/%.o: %.cpp $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "$(CXX) $< (AddressSanitizer)"
	@$(CXX) $(FLAGS) -Itests $(SANITIZE) -w -MMD -MP -c $< -o $@
$(ASAN)/tests/all: $(ASAN_OBJECTS)
	@echo "$(CXX) -o $@"
	@$(CXX) $(FLAGS) $(SANITIZE) $^ $(LIBS) $(CATCH) -o $@
test-asan: $(ASAN)/tests/all
	$(ASAN)/tests/all "$(subst $() ,$(comma),$(ASAN_TESTED:%=[%]))"

# Each reader on any bytes (tests/fuzz), by clang's libFuzzer, for FUZZ_SECONDS. What leads to new
# code is kept in build/fuzz/corpus, from where the next run goes on; what ends a reader is left in
# build/fuzz/<target>-crash-..., and `build/fuzz/<target> FILE` repeats it. FUZZ_TARGETS chooses some.
FUZZ := $(BUILD)/fuzz
FUZZ_CXX ?= clang++
FUZZ_SECONDS ?= 10
FUZZ_TARGETS ?= $(patsubst tests/fuzz/%.cpp,%,$(wildcard tests/fuzz/*.cpp))
FUZZ_FLAGS := -std=c++20 -Wall -Wextra $(WERROR) -Isrc -Itests $(SANITIZE) -O2 $(DATA) \
    -fsanitize-coverage-ignorelist=tests/fuzz/libraries.txt
FUZZ_SOURCES := $(READERS) jobs/bands jobs/hf_config jobs/readable jobs/view probe/probe_file probe/spikes run/metrics store/csv store/step_file
FUZZ_READERS := $(FUZZ_SOURCES:%=$(FUZZ)/src/%.o) $(filter-out $(FUZZ_SOURCES:%=$(BUILD)/src/%.o),$(LIBRARY))
# the rest of the library is what it is elsewhere, with its compiler's OpenMP
FUZZ_LIBS := $(patsubst -fopenmp,$(if $(findstring clang,$(CXX)),-fopenmp,-lgomp),$(LIBS))
$(FUZZ)/%.o: %.cpp Makefile
	@mkdir -p $(@D)
	@echo "$(FUZZ_CXX) $< (libFuzzer)"
	@$(FUZZ_CXX) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c $< -o $@
$(FUZZ_TARGETS:%=$(FUZZ)/%): $(FUZZ)/%: $(FUZZ)/tests/fuzz/%.o $(FUZZ_READERS)
	@$(FUZZ_CXX) $(FUZZ_FLAGS) -fsanitize=fuzzer $^ $(FUZZ_LIBS) -o $@
fuzz: $(FUZZ_TARGETS:%=fuzz-%)
	@$(MAKE) --no-print-directory fuzz-total
fuzz-total:
	@awk -F, '{ n += $$3; s += $$4 } END { printf "fuzz: %d executions so far, %d a CPU-second\n", n, n / s }' $(FUZZ)/total.csv
$(FUZZ_TARGETS:%=fuzz-%): fuzz-%: $(FUZZ)/%
	@tests/fuzz/run.sh $< $(FUZZ_SECONDS)

# the lines of the readers that these inputs run
COVERED := $(FUZZ)/coverage
$(COVERED)/%.o: %.cpp Makefile
	@mkdir -p $(@D)
	@echo "$(FUZZ_CXX) $< (coverage)"
	@$(FUZZ_CXX) -O1 -std=c++20 -Isrc $(DATA) -fprofile-instr-generate -fcoverage-mapping -MMD -MP -c $< -o $@
$(FUZZ_TARGETS:%=$(COVERED)/%): $(COVERED)/%: $(COVERED)/tests/fuzz/%.o $(FUZZ_READERS:$(FUZZ)/%=$(COVERED)/%)
	@$(FUZZ_CXX) -fprofile-instr-generate -fsanitize=fuzzer $^ $(FUZZ_LIBS) -o $@
fuzz-coverage:
	@if command -v llvm-profdata > /dev/null && command -v llvm-cov > /dev/null; then \
	    $(MAKE) --no-print-directory $(FUZZ_TARGETS:%=$(COVERED)/%) && tests/fuzz/coverage.sh $(COVERED) $(FUZZ)/corpus $(FUZZ_TARGETS); \
	else echo "skipped: fuzz-coverage (no llvm-profdata or no llvm-cov here)"; fi

# The CPU's kernels and their oracle run by threads that ThreadSanitizer watches; clang's OpenMP tells it by Archer
# who waits for whom. What libraries compute is not watched.
CPU_TSAN := $(BUILD)/cpu-tsan
CPU_TSAN_CXX = $(FUZZ_CXX) $(FLAGS) -Itests -O1 -g -fsanitize=thread -w -DNO_ONEDNN
CPU_TSAN_OBJECTS := $(patsubst $(BUILD)/%,$(CPU_TSAN)/%,$(CPU) $(CONFORMANCE))
$(CPU_TSAN)/%.o: %.cpp $(BUILD)/flags
	@mkdir -p $(@D)
	@echo "$(FUZZ_CXX) $< (ThreadSanitizer)"
	@$(CPU_TSAN_CXX) -MMD -MP -c $< -o $@
$(CPU_TSAN)/conformance: $(CPU_TSAN_OBJECTS) $(HOUSE)
	@echo "$(FUZZ_CXX) -o $@"
	@$(CPU_TSAN_CXX) $^ $(LIBS) -o $@
test-tsan:
	@if [ -e "$$($(FUZZ_CXX) -print-resource-dir 2> /dev/null)/../../libarcher.so" ]; then $(MAKE) --no-print-directory races; \
	else echo "skipped: test-tsan (no clang++ with OpenMP and Archer here)"; fi
races: $(CPU_TSAN)/conformance
	@tests/check_races.sh "$(CPU_TSAN_CXX)" "$(CPU_TSAN_OBJECTS) $(HOUSE)" "$(LIBS)" $(CPU_TSAN)

# a step under valgrind, in a build whose instructions it knows (test-machines' own)
check-uninitialised:
	@if command -v valgrind > /dev/null; then \
	    $(MAKE) --no-print-directory BUILD=build/machines/v2 MARCH=x86-64-v2 uninitialised; \
	else echo "skipped: check-uninitialised (no valgrind here)"; fi
uninitialised: $(BUILD)/train.o $(LIBRARY)
	@tests/check_uninitialised.sh "$(CXX) $(FLAGS)" "$^" "$(LIBS)" $(BUILD)/uninitialised

# every combination of the model's options against finite differences: a few minutes
test-grid: $(BUILD)/tests/all
	$(BUILD)/tests/all "[.grid]"

$(BUILD)/tests/%_shim.so: tests/%_shim.c
	@mkdir -p $(@D)
	$(CC) -shared -fPIC $< -ldl -o $@

# Each call on a file fails in turn, and memory ends: one of FAULTS of a kind (FAULTS=1: all, an hour).
FAULTS ?= 24
check-faults: train $(BUILD)/tests/fault_shim.so
	tests/check_faults.sh $(BUILD)/tests/fault_shim.so $(FAULTS)

# fp16 trains as fp32 does (PRECISION="200 1 2 3": steps and seeds, a quarter of an hour)
PRECISION ?= 20 1
check-precision: train
	tests/check_precision.sh $(PRECISION)

# power fails at so many places of a run (POINTS=0: after each change of the disk)
POINTS ?= 40
check-power: train $(BUILD)/tests/fault_shim.so
	python3 tests/power_loss.py ./train $(BUILD)/tests/fault_shim.so $(POINTS)

# a run of so many seconds stays as it began, and one on a loaded machine does not stall; SOAK=7200 is the long form
SOAK ?= 40
check-soak: train $(BUILD)/tests/leak_shim.so
	python3 tests/soak.py ./train $(abspath $(BUILD)/tests/leak_shim.so) $(SOAK)

# a run goes on with other threads, another precision and, where a cross compiler and qemu are, on aarch64 and back
check-travel: train
	@ONLY=train ROOT=$(MACHINES_ROOT) tests/machines.sh aarch64
	python3 tests/check_travel.py ./train $(MACHINES_ROOT)/aarch64/train

# runs killed so many times, and one cut off at each of its writes, end with the bits of a whole one
KILLS ?= 28
check-resume: train $(BUILD)/tests/exit_shim.so
	tests/check_resume.sh $(BUILD)/tests/exit_shim.so $(KILLS)

# Python's safetensors reads what is written here, and the other way round. Where there is no network
# to install it from and no Python that has it, the check says that it is skipped.
VENV := $(BUILD)/venv
check-safetensors: train
	@[ -n "$(PYTHON)" ] || [ -x $(VENV)/bin/python ] || { python3 -m venv $(VENV) && \
	    $(VENV)/bin/pip install --quiet --retries 1 --timeout 20 safetensors numpy ml_dtypes tensorboard; } || rm -rf $(VENV)
	@python=$(or $(PYTHON),$$(ls $(VENV)/bin/python 2> /dev/null || command -v python3)); \
	if [ -n "$$python" ]; then $$python tests/check_safetensors.py ./train $(BUILD)/check-safetensors; \
	else echo "skipped: check-safetensors (no Python here)"; fi

# TensorBoard's own reader finds in data/events.py's files what the CSV files hold
check-events: check-safetensors
	@python=$(or $(PYTHON),$$(ls $(VENV)/bin/python 2> /dev/null || command -v python3)); \
	if [ -n "$$python" ] && $$python -c 'import tensorboard' 2> /dev/null; then TRAIN=./train $$python -m unittest discover -q -s tests -p 'test_events.py'; \
	else echo "skipped: check-events (no Python package tensorboard here)"; fi

# Models that are exported compute the same in Hugging Face transformers. Its Python holds PyTorch,
# gigabytes: it is made once, outside of the clone. PYTHON=... names another that has what is needed.
HF_VENV := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/peri.cpp/venv
HF_NEEDS := import torch, transformers, safetensors, numpy
check-hf: train $(BUILD)/tests/hf/logits
	@[ -n "$(PYTHON)" ] || $(HF_VENV)/bin/python -c '$(HF_NEEDS)' 2> /dev/null || { python3 -m venv $(HF_VENV) && \
	    $(HF_VENV)/bin/pip install --quiet --retries 1 --timeout 20 torch transformers safetensors numpy tiktoken 'lm_eval[hf]'; } || \
	    rm -rf $(HF_VENV)
	@python=$(or $(PYTHON),$$(ls $(HF_VENV)/bin/python 2> /dev/null)); \
	if [ -n "$$python" ]; then $$python tests/check_hf.py ./train $(BUILD)/tests/hf/logits $(BUILD)/check-hf; \
	else echo "skipped: check-hf (PyTorch and transformers cannot be installed here)"; fi

$(BUILD)/tests/hf/%: $(BUILD)/tests/hf/%.o $(LIBRARY)
	@echo "$(CXX) -o $@"
	@$(CXX) $(FLAGS) $^ $(LIBS) -o $@

# The step of each size beside what its products alone would take, each kernel's speed at the shapes
# of `small` and of 124m beside the machine's peaks, and how steps scale: half an hour.
bench: train $(BUILD)/tests/bench/step $(BUILD)/tests/bench/scaling $(BUILD)/tests/conformance_cpu
	TESTS=$(BUILD)/tests tests/bench/all.sh

$(BUILD)/tests/bench/%: $(BUILD)/tests/bench/%.o $(LIBRARY)
	@echo "$(CXX) -o $@"
	@$(CXX) $(FLAGS) $^ $(LIBS) -o $@

# Seconds a step beside PyTorch's, in turn: PYTHON=... names a Python that has another PyTorch.
bench-compare: train $(BUILD)/tests/bench/timed_steps
	tests/bench/compare.sh small 16 128 256 10 3
	PYTORCH_THREADS=0 tests/bench/compare.sh small 16 128 256 10 3 eager/fp32
	tests/bench/compare.sh 124m 4 256 50304 2 3
	tests/bench/compare.sh 124m 4 1024 50304 1 3

# What gpu/first_hour.sh needs, with its libraries beside it, for another machine: such as with BUILD=build/v3
# MARCH=x86-64-v3. CUDA's own libraries are that machine's. SIM=1 takes the simulator for the GPU.
PORTABLE := $(BUILD)/portable
DEVICE_KIND := $(if $(SIM),sim,cuda)
portable: $(BUILD)/train $(BUILD)/train_$(DEVICE_KIND) $(BUILD)/tests/conformance_$(DEVICE_KIND) $(BUILD)/tests/bench/zipf_shard
	@rm -rf $(PORTABLE) && mkdir -p $(PORTABLE)/lib
	@cp $^ $(PORTABLE) && strip $(addprefix $(PORTABLE)/,$(notdir $^))
	@ldd $^ | awk '$$2 == "=>" && $$3 ~ /^\// { print $$3 }' | sort -u | \
	    grep -vE '/(libc|libm|libdl|librt|libpthread|libcuda|libcudart|libcublas|libcublasLt|libcudnn[a-z_]*)\.so' | \
	    xargs -I LIB cp -L LIB $(PORTABLE)/lib
	@echo "$(PORTABLE): $$(du -sh $(PORTABLE) | cut -f1)"

# The machine's ceilings, each kernel at the paper's sizes, three steps of each size: on a GPU; SIM=1 tries it
# on the simulator, with tiny sizes.
bench_cuda: portable
	BIN=$(PORTABLE) gpu/first_hour.sh 2
	BIN=$(PORTABLE) gpu/first_hour.sh 3

# processes against threads: a minute a round
bench-ranks: train train_mpi
	tests/bench/ranks.sh 3 $(shell nproc 2> /dev/null || echo 2)

format:
	clang-format -i train.cpp $$(find src tests gpu ports reference -name '*.cpp' -o -name '*.h' -o -name '*.cu')

clean:
	rm -rf $(BUILD) train single train_mpi train_cuda train_sim train_port

deps:
	@make/deps.sh "$(NEEDED)"
deps-mpi:
	@make/deps.sh "Open MPI" mpi
deps-hip:
	@make/deps.sh "hipcc, HIP's headers and the device libraries of ROCm" hip
deps-opencl:
	@make/deps.sh "OpenCL's headers and loader, a driver (PoCL computes on the processor), CLBlast" opencl
# headers alone, of a wheel of Python's
deps-cudnn:
	@python3 -m pip download --quiet --no-deps --dest $(BUILD)/cudnn-frontend nvidia-cudnn-frontend && \
	    python3 -m zipfile -e $(BUILD)/cudnn-frontend/*.whl $(BUILD)/cudnn-frontend
# for test-machines: other compilers; a cross compiler and what it links with (Debian alone)
deps-compilers deps-cross:
	@tests/machines_deps.sh $(@:deps-%=%) $(MACHINES_ROOT)

.PHONY: test test-machines deps-compilers deps-cross test-halved test-faults test-experiments test-docs test-view test-lost test-versions test-prepare experiments figures test-asan test-tsan races check-uninitialised uninitialised fuzz fuzz-total fuzz-coverage test-grid test-conformance test-port test-sim \
    check-sim check-resume check-faults check-power check-precision check-hostile check-soak check-travel check-mpi FORCE deps-mpi check-hip hip-objects deps-hip check-opencl test-faults-opencl test-faults-port bench_port deps-opencl check-cudnn deps-cudnn check-safetensors check-hf sim-race bench bench-compare bench-ranks bench_cuda portable ptx-logs check-ptx accept-ptx format clean deps
