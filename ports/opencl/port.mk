# What the Makefile needs to build this port (make deps-opencl installs it).
override PORT_FLAGS += -Iports -Iports/opencl -DCL_TARGET_OPENCL_VERSION=120 -DDATA_DIRECTORY='"$(abspath $(PORT_DIR))"'
override PORT_LIBS += -lclblast -lOpenCL
