--- Tasks that wait for a further try, in a heap by their time: the first is the one whose time comes first.
local M = {}

---@param again { at: number } when its time comes
function M.push(heap, again)
  local k = #heap + 1
  while k > 1 do
    local up = (k - k % 2) / 2
    if heap[up].at <= again.at then break end
    heap[k] = heap[up]
    k = up
  end
  heap[k] = again
end

--- Takes the first.
function M.pop(heap)
  local first, last, n = heap[1], heap[#heap], #heap - 1
  heap[n + 1] = nil
  if n == 0 then return first end
  local k = 1
  while true do
    local child = 2 * k
    if child > n then break end
    if child < n and heap[child + 1].at < heap[child].at then child = child + 1 end
    if heap[child].at >= last.at then break end
    heap[k] = heap[child]
    k = child
  end
  heap[k] = last
  return first
end

return M
