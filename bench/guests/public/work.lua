-- Queens, strings, tables and floating point; the argument is how much of it.
local n = tonumber(arg[1])

local function queens(size)
  local found, columns, up, down = 0, {}, {}, {}
  local function place(row)
    if row > size then
      found = found + 1
      return
    end
    for column = 1, size do
      local a, b = row + column, row - column + size
      if not (columns[column] or up[a] or down[b]) then
        columns[column], up[a], down[b] = true, true, true
        place(row + 1)
        columns[column], up[a], down[b] = false, false, false
      end
    end
  end
  place(1)
  return found
end

local function words(count)
  local seen, seed = {}, 42
  for i = 1, count do
    seed = (seed * 16807) % 2147483647
    local word = string.format("w%d", seed % 500)
    seen[word] = (seen[word] or 0) + 1
  end
  local lines = {}
  for word, times in pairs(seen) do
    lines[#lines + 1] = word .. "=" .. times
  end
  table.sort(lines)
  return #table.concat(lines, ","), lines[1], lines[#lines]
end

local function spectral(size)
  local function element(i, j)
    return 1 / ((i + j) * (i + j + 1) / 2 + i + 1)
  end
  local v = {}
  for i = 0, size - 1 do v[i] = 1 end
  for round = 1, 4 do
    local w = {}
    for i = 0, size - 1 do
      local sum = 0
      for j = 0, size - 1 do sum = sum + element(i, j) * v[j] end
      w[i] = sum
    end
    v = w
  end
  return string.format("%.9f", v[0])
end

for round = 1, n do
  print(queens(7), words(20000), spectral(100))
end
