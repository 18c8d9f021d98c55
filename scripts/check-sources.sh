#!/usr/bin/env bash
# What neither rustfmt nor clippy checks: files of at most 600 lines, no mod.rs, ASCII only.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

most=600
# Files that are one table may be longer: one path a line.
tables=(
)

failed=0
complain() {
    echo "check-sources: $*" >&2
    failed=1
}

count=0
while IFS= read -r file; do
    count=$((count + 1))
    lines=$(wc -l <"$file")
    if [ "$lines" -gt "$most" ]; then
        case " ${tables[*]} " in
            *" $file "*) ;;
            *) complain "$file has $lines lines, the most is $most" ;;
        esac
    fi
    if [ "$(basename "$file")" = mod.rs ]; then
        complain "$file: a module is name.rs beside the folder name/"
    fi
    if found=$(LC_ALL=C grep -n -m 1 '[^ -~	]' "$file"); then
        complain "$file:${found%%:*}: not ASCII"
    fi
done < <(find crates -name '*.rs' -not -path '*/target/*' | LC_ALL=C sort)

if [ "$count" -eq 0 ]; then
    complain "no source files found"
fi
if [ "$failed" -eq 0 ]; then
    echo "check-sources: $count files"
fi
exit "$failed"
