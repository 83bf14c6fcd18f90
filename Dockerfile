# docker build -t peri .
# docker run --rm -it -v "$PWD/runs:/peri/runs" peri ./train --norm peri
#
# (Not run by the project so far: the machine it was written on has no Docker.) -march=native means the
# machine that builds: pass --build-arg MARCH=x86-64-v3 for an image that moves to others.
FROM debian:12-slim
ARG MARCH=native
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /peri
COPY Makefile ./
COPY make make
RUN make deps && rm -rf /var/lib/apt/lists/*
COPY . .
RUN make MARCH=$MARCH
CMD ["./train", "--norm", "peri"]
