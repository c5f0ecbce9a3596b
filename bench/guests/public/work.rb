# Objects in trees, strings in hashes, big numbers.
Node = Struct.new(:left, :right) do
  def count = left ? 1 + left.count + right.count : 1
end

def tree(depth) = depth.zero? ? Node.new : Node.new(tree(depth - 1), tree(depth - 1))

def words(count)
  seed = 42
  seen = Hash.new(0)
  count.times do
    seed = seed * 16_807 % 2_147_483_647
    seen["w#{seed % 700}".reverse] += 1
  end
  seen.sort_by { |word, times| [-times, word] }.first(5).map { |pair| pair.join("=") }.join(" ")
end

ARGV[0].to_i.times do
  puts [tree(11).count, words(8_000), (1..250).inject(:*).to_s.sum].join(" ")
  puts (1..1000).lazy.select(&:odd?).map { |i| i.to_s(2).count("1") }.sum
end
