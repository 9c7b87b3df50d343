/* cores.h - how many processors this process may use. */
#ifndef PARLUA_CORES_H
#define PARLUA_CORES_H
/* At least 1: the least of the affinity mask, the cgroup's quota (rounded up) and the batch system's allotment
 * (SLURM_CPUS_PER_TASK, SLURM_CPUS_ON_NODE, PBS_NP/NCPUS, NSLOTS). */
int cores_available(void);
#endif
