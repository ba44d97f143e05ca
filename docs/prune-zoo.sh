#!/usr/bin/env bash
# Prunes every model in a folder, and checks each result against its original.
#
#   docs/prune-zoo.sh MODELS OUTPUT [OPTION ...]      options are those of `onnxsurgeon prune`, by default --ratio 30%
#
# OUTPUT gets the pruned models, beside each its report (.json) and its check (.xml, JUnit), and summary.md. The exit
# code is that of the worst model: of prune, else of check.
set -uo pipefail
if [ $# -lt 2 ]; then
  sed -n '2,6s/^# \{0,1\}//p' "$0"
  exit 2
fi
models=$1 output=$2
shift 2
[ $# -gt 0 ] || set -- --ratio 30%

onnxsurgeon prune "$models/**/*.onnx" --output-dir "$output" --resume "$@"
worst=$?

rm -f "$output/summary.md"
while IFS= read -r -d '' pruned; do
  report="$pruned.json"
  original=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["model"])' "$report")
  onnxsurgeon check "$pruned" --against "$original" --max-growth 0 --summary "$output/summary.md" \
    --format junit > "$pruned.xml" || { code=$?; [ "$worst" -ne 0 ] || worst=$code; }
done < <(find "$output" -name '*.onnx' -print0 | sort -z)
exit "$worst"
