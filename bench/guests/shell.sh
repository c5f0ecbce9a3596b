# A shell at work: processes, pipes and files. The second of two equal passes is the one that counts.

now() { # hundredths of a second since the guest's start
    read -r up _ </proc/uptime
    now=$((${up%.*} * 100 + 1${up#*.} - 100))
}

substitutions() {
    sum=0
    for i in $(seq 80); do
        sum=$((sum + $(expr "$i" \* 7)))
        name=$(basename "/some/folder/$sum.txt" .txt)
    done
    echo "$name"
}

pipes() {
    for i in $(seq 30); do
        seq "$i" 300 | cat | grep 7 | wc -l
    done
    seq 6000 | sed 's/\(.\)\(.\)/\2\1/' | sort -n | uniq | tail -n 2
    seq 9000 | awk '{ seen[$1 % 97] += $1 } END { for (i = 0; i < 97; i++) sum += i * seen[i]; print sum }'
}

files() {
    for i in $(seq 50); do
        folder=tree/$((i % 7))/$i
        mkdir -p $folder
        seq "$i" >$folder/list
        cp $folder/list $folder/copy
        mv $folder/copy $folder/moved
        [ -s $folder/moved ] && ln -s moved $folder/link
    done
    find tree -type f | sort | xargs cat | md5sum
    tar -c tree/3 | gzip | gunzip | tar -t | wc -l
    rm -r tree
}

mkdir -p /tmp/work && cd /tmp/work || exit 1
for lap in 0 1; do
    now && begin=$now
    result=$( (substitutions; pipes; files) | md5sum)
    now
    echo "BENCH shell lap=$lap result=${result%% *} ticks=$(((now - begin) * 100000))"
done
