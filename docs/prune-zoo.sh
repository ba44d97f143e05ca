#!/usr/bin/env bash
# Prunes every model in a folder, and checks each result against its original.
#
#   docs/prune-zoo.sh MODELS OUTPUT [OPTION ...]
#
# Options are those of `onnxsurgeon prune`, but for --report; --ratio 30% is added where they have no goal. OUTPUT gets
# the pruned models, beside each its report (.json) and its check (.xml, JUnit), and summary.md and summary.json for all
# of them; a model that could not be pruned has a check that says why. The exit code is that of the worst model: of
# prune, else of check.
set -uo pipefail
if [ $# -lt 2 ]; then
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
  exit 2
fi
models=$1 output=$2
shift 2
goal=
for option in "$@"; do
  case "$option" in
    --max-moved*) ;;
    --ratio | --ratio=* | --max-*) goal=$option ;;
  esac
done
[ -n "$goal" ] || set -- --ratio 30% "$@"

# prints the models that were pruned, each with its output; for the others it writes what a check would
rows='
import json, pathlib, sys, xml.etree.ElementTree as xml
folder = pathlib.Path(sys.argv[1])
report = folder / "summary.json"
for row in json.loads(report.read_text()).get("models", ()) if report.exists() else ():
    if not row["exit_code"]:
        sys.stdout.write("\0".join((row["model"], row["output"], "")))
        continue
    what, *rest = ("".join(c if c.isprintable() else " " for c in row[key]) for key in ("what", "why", "fix"))
    suites = xml.Element("testsuites")
    suite = xml.SubElement(suites, "testsuite", name=row["model"], tests="1", failures="0", errors="1")
    case = xml.SubElement(suite, "testcase", classname=row["model"], name="prune")
    xml.SubElement(case, "error", message=what, type="SurgeonError").text = "\n".join(rest)
    file = pathlib.Path(row["output"] + ".xml")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(xml.tostring(suites))
    with (folder / "summary.md").open("a") as summary:
        print("### onnxsurgeon prune: " + row["model"], "", what, *rest, "", sep="\n", file=summary)
'
mkdir -p "$output" && rm -f "$output"/summary.{md,json} || exit 2
onnxsurgeon prune "$models/**/*.onnx" --output-dir "$output" --resume "$@" --report "$output/summary.json"
worst=$?
while IFS= read -r -d '' original && IFS= read -r -d '' pruned; do
  onnxsurgeon check "$pruned" --against "$original" --max-growth 0 --summary "$output/summary.md" \
    --format junit > "$pruned.xml" || { code=$?; [ "$worst" -ne 0 ] || worst=$code; }
done < <(python3 -c "$rows" "$output")
exit "$worst"
