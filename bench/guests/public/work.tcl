# Procedures, lists, dictionaries and strings.
proc fib {n} {
    if {$n < 2} { return $n }
    return [expr {[fib [expr {$n - 1}]] + [fib [expr {$n - 2}]]}]
}

proc words {count} {
    set seed 42
    set seen [dict create]
    for {set i 0} {$i < $count} {incr i} {
        set seed [expr {$seed * 16807 % 2147483647}]
        dict incr seen [format "w%03d" [expr {$seed % 300}]]
    }
    return [string length [join [lsort [dict keys $seen]] ,]]:[dict get $seen w007]
}

for {set round 0} {$round < [lindex $argv 0]} {incr round} {
    puts "[fib 18] [words 20000] [lindex [lsort -integer [lreverse [lmap x [split [string repeat "7 3 9 " 3000]] {string length $x}]]] end]"
}
