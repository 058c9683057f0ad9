#!/bin/sh
# One training on two machines, or more. Run the same line on each of them:
#
#   sh two_nodes.sh HOST:PORT --data_dir=/shared/train/images --model_dir=/shared/runs --model=Efficientnet_b3
#
# HOST is one of the machines, PORT a free port of it that the others reach. Data and runs lie under the same paths on
# all. With NODES=1:2 a machine may leave and come back: the run goes on, in its one folder, once the others have waited
# LAST_CALL seconds for more.
set -eu

endpoint=$1
shift

# With torch 2.14, a machine that comes back waits in vain where this is not set.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1

exec torchrun \
  --nnodes="${NODES:-2}" \
  --nproc-per-node="${PROCESSES:-gpu}" \
  --rdzv-backend=c10d \
  --rdzv-endpoint="$endpoint" \
  --rdzv-id="${JOB:-maskkit}" \
  --rdzv-conf="last_call_timeout=${LAST_CALL:-30}" \
  --max-restarts="${RESTARTS:-3}" \
  -m maskkit train "$@"
