// What an interpreter of JavaScript in Java is given: closures, strings, objects and regular expressions.
function words(count) {
  var seen = {}, seed = 42;
  for (var i = 0; i < count; i++) {
    seed = (seed * 16807) % 2147483647;
    var word = ("w" + (seed % 300)).replace(/w(\d)/, "$1w");
    seen[word] = (seen[word] || 0) + 1;
  }
  return Object.keys(seen).sort().slice(0, 3).join(",");
}

function fibonacci(n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

for (var round = 0; round < Number(arguments[0]); round++) {
  print(words(1000) + " " + fibonacci(12));
}
