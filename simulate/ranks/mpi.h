/* mpi.h - what src/engines/mpi uses of MPI, in virtual time (network.c). */
#ifndef SIMULATE_MPI_H
#define SIMULATE_MPI_H

typedef int MPI_Comm;
typedef int MPI_Datatype; /* bytes of one */
typedef int MPI_Info;
typedef struct packet *MPI_Message;
typedef struct request *MPI_Request;
typedef struct {
  int MPI_SOURCE, bytes;
} MPI_Status;

#define MPI_BYTE             1
#define MPI_INT              4
#define MPI_ANY_SOURCE       (-1)
#define MPI_COMM_TYPE_SHARED 1
#define MPI_INFO_NULL        0
#define MPI_REQUEST_NULL     ((MPI_Request)0)
#define MPI_STATUS_IGNORE    ((MPI_Status *)0)

int MPI_Comm_rank(MPI_Comm comm, int *rank);
int MPI_Comm_size(MPI_Comm comm, int *size);
int MPI_Isend(const void *bytes, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request *request);
int MPI_Irecv(void *bytes, int count, MPI_Datatype type, int from, int tag, MPI_Comm comm, MPI_Request *request);
int MPI_Test(MPI_Request *request, int *is_done, MPI_Status *status);
int MPI_Improbe(int from, int tag, MPI_Comm comm, int *is_there, MPI_Message *message, MPI_Status *status);
int MPI_Get_count(const MPI_Status *status, MPI_Datatype type, int *count);
int MPI_Imrecv(void *bytes, int count, MPI_Datatype type, MPI_Message *message, MPI_Request *request);
int MPI_Abort(MPI_Comm comm, int status);
/* How ranks meet is not simulated: whoever calls one of these has lost his way. */
int MPI_Comm_split_type(MPI_Comm comm, int type, int key, MPI_Info info, MPI_Comm *part);
int MPI_Comm_free(MPI_Comm *comm);
int MPI_Bcast(void *bytes, int count, MPI_Datatype type, int root, MPI_Comm comm);
int MPI_Barrier(MPI_Comm comm);
int MPI_Allgather(const void *own, int own_count, MPI_Datatype own_type, void *all, int count, MPI_Datatype type,
                  MPI_Comm comm);

#endif
