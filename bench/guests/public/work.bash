# Arithmetic, arrays, strings and subshells of bash itself.
for ((round = 0; round < $1; round++)); do
    declare -A seen=()
    seed=42
    for ((i = 0; i < 2500; i++)); do
        seed=$((seed * 16807 % 2147483647))
        word=w$((seed % 200))
        seen[$word]=$((${seen[$word]:-0} + ${#word}))
    done
    text=
    for word in "${!seen[@]}"; do [[ $word == w*7 ]] && text+=${word/w/x}:${seen[$word]},; done
    echo "${#text} ${seen[w100]}"
    for ((i = 0; i < 25; i++)); do echo "$(echo "${i}" | { read -r x; echo $((x * x)); })"; done
done
