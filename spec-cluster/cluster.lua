--- What the specs of the cluster share: commands on its hosts, their cables, their processes.
--
--   local cluster = require "spec-cluster.cluster"

local lfs = require "lfs"

local helper = require "spec.helper"

local cluster = { hosts = { "node1", "node2", "node3" } }

--- A command that runs on a host, as words for the shell.
---@param host string
---@param command string  words for the shell
---@return string
function cluster.on(host, command)
  return "spec-cluster/on " .. host .. " " .. command
end

--- The beginning of a command that runs a rank on each of the hosts.
---@param options? string  more for mpirun
---@param hosts? string  default: all, a rank each
---@return string
function cluster.mpirun(options, hosts)
  return cluster.on("node1", "env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --host "
    .. (hosts or "node1,node2,node3") .. " --mca plm_rsh_agent " .. lfs.currentdir()
    .. "/spec-cluster/ssh --mca btl tcp,self --mca btl_tcp_if_include eth0 --mca oob_tcp_if_include eth0 "
    .. (options or "") .. " ")
end

--- Cuts the cable of a host, or joins it again.
---@param host string
---@param state "up"|"down"
function cluster.cable(host, state)
  assert(os.execute("ip link set to-" .. host .. " " .. state) == 0)
end

--- The commands that run on a host, but for the process that holds it.
---@param host string
---@return string[] commands
function cluster.processes(host)
  local holder = helper.read("/run/hosts/" .. host .. "/pid"):match "%d+"
  local result = helper.run(([[
    names=$(readlink /proc/%s/ns/uts)
    for process in /proc/[0-9]*; do
      if [ "$(readlink $process/ns/uts)" = "$names" ] && [ $process != /proc/%s ]; then
        tr '\0' ' ' < $process/cmdline && echo
      fi
    done 2> /dev/null; true
  ]]):format(holder, holder))
  local commands = {}
  for line in result.stdout:gmatch "[^\n]+" do commands[#commands + 1] = line end
  return commands
end

--- Waits until nothing runs on a host any more; raises what still does after a minute.
---@param host string
function cluster.wait_until_idle(host)
  local left
  for _ = 1, 60 do
    left = cluster.processes(host)
    if #left == 0 then return end
    os.execute "sleep 1"
  end
  error(("still running on %s: %s"):format(host, table.concat(left, "; ")), 2)
end

return cluster
