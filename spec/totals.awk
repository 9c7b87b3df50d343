# The totals of all suites whose output is given: busted ends each with a line like
# 12 successes / 0 failures / 1 error / 0 pending : 1.5 seconds
{ gsub(/\033\[[0-9;]*m/, "") }
/^[0-9]+ success(es)? \/ [0-9]+ failures? \/ [0-9]+ errors? \/ [0-9]+ pending/ { passed += $1; failed += $4 + $7; suites++ }
/^simulate: [0-9]+ schedules, no fault$/ { passed++ }
/^simulate: schedule [0-9]+ shows a fault/ { failed++ }
END { printf "%d passed, %d failed in %d suites\n", passed, failed, suites }
