#!/bin/sh
# One worker of a search that many machines share. Type the same line on each of them, as often as trainings are to run at
# once there; all work on one study, and end together. What follows the first three words are flags of maskkit tune.
#
#   ./search_together.sh postgresql://searcher@db.example.org/searches faces /data/train/images --trials=40 --epochs=20
#
# A worker that is killed loses nothing: the others begin its trial again. To add one later, start it the same way.
set -eu

if [ "$#" -lt 3 ]; then
  echo "usage: $0 DATABASE STUDY IMAGES [--flag=value ..]" >&2
  exit 2
fi
database=$1 study=$2 images=$3
shift 3

exec maskkit tune --engine=optuna --engine_args="storage=$database,study=$study" --data_dir="$images" "$@"
