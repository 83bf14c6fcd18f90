#!/bin/bash
# Two machines of eight GPUs each under Slurm. Not run yet: no such machines were at hand.
#   make train_cuda where MPI and NCCL are (make deps-mpi); then  sbatch docs/slurm.sh
# Every process reads the same program and data: put both on a file system that all machines see.
#SBATCH --job-name=peri
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
# --signal: two minutes before the end of its time every process hears SIGTERM, and the run saves itself;
# --resume auto goes on from there, also with another number of machines.

srun --mpi=pmix ./train_cuda --config configs/paper-1.5b.json --data 'shards/*.bin' \
    --out runs/peri-1.5b --resume auto
