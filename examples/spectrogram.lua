-- The spectrogram of a signal: which frequencies it has, and when. Shows a .npy file that is read by mapping it, and
-- results that land in an array by themselves: each task returns a row.
--
--   parlua spectrogram.lua [signal.npy]      a signal of one dimension; without one, a rising tone is made
--
-- Leaves spectrogram.png in the current directory: time goes to the right, frequencies go down.

local parlua = require "parlua"
local WINDOW, STEP = 512, 256 -- samples
local path = arg[1]
if not path then
  path = "chirp.npy"
  local tone = parlua.array("float", 2 ^ 17)
  for i = 1, #tone do tone[i] = math.sin(2 * math.pi * (0.02 + 0.2 * i / #tone) * i) end
  tone:save(path)
end
local signal = parlua.load(path)
if signal.rank ~= 1 or #signal < WINDOW then error("a signal has one dimension of at least 512 samples") end

-- The fast Fourier transform, in place: re and im hold 0 .. n - 1.
local function transform(re, im, n)
  local j = 0
  for i = 1, n - 1 do -- the order of reversed bits
    local bit = n / 2
    while j >= bit do j, bit = j - bit, bit / 2 end
    j = j + bit
    if i < j then re[i], re[j], im[i], im[j] = re[j], re[i], im[j], im[i] end
  end
  local half = 1
  while half < n do
    for k = 0, half - 1 do
      local c, s = math.cos(math.pi * k / half), -math.sin(math.pi * k / half)
      for a = k, n - 1, 2 * half do
        local b = a + half
        local x, y = re[b] * c - im[b] * s, re[b] * s + im[b] * c
        re[a], im[a], re[b], im[b] = re[a] + x, im[a] + y, re[a] - x, im[a] - y
      end
    end
    half = half * 2
  end
end

local function spectrum(first)
  local samples, re, im = signal:data(), {}, {}
  for k = 0, WINDOW - 1 do
    local weight = 0.5 - 0.5 * math.cos(2 * math.pi * k / WINDOW) -- Hann: soft ends
    re[k], im[k] = weight * samples[first + k], 0
  end
  transform(re, im, WINDOW)
  local row = {}
  for k = 1, WINDOW / 2 do row[k] = 10 * math.log10(re[k - 1] ^ 2 + im[k - 1] ^ 2 + 1e-9) end
  return row
end

local frames = math.floor((#signal - WINDOW) / STEP) + 1
local power = parlua.array("float", frames, WINDOW / 2)
parlua.map(spectrum, parlua.range(0, (frames - 1) * STEP, STEP), { into = power })
power:transpose():save("spectrogram.png", { low = -30, high = power:max() })
--- The strongest frequency of a row, as a share of the sampling rate.
local function loudest(i)
  local row, best = power:slice(i), 1
  for k = 2, #row do best = row[k] > row[best] and k or best end
  return (best - 1) / WINDOW
end
print(("%d frames of %d samples; loudest at the beginning %.3f, at the end %.3f of the sampling rate"):format(
  frames, WINDOW, loudest(1), loudest(frames)))
