// CUPTI asks for buffers and hands them back on threads of its own, where no JavaScript can run. Compiled by bun:ffi,
// without any header: buffers are pieces of shared memory, each with a state that JavaScript sees and changes too.

enum { FREE, TAKEN, FULL };

// Buffers that there were none for; then the state of each, and the bytes in it.
static int *refused, *states, *sizes;
static unsigned char *slab;
static int count;
static unsigned long bytes;

static int exchange(int *at, int from, int to)
{
    int found;
    __asm__ volatile("lock; cmpxchgl %2, %1" : "=a"(found), "+m"(*at) : "r"(to), "0"(from) : "memory");
    return found == from;
}

static void increment(int *at)
{
    __asm__ volatile("lock; incl %0" : "+m"(*at) : : "memory");
}

void configure(int *head, unsigned char *memory, int buffers, int each)
{
    refused = head;
    states = head + 1;
    sizes = states + buffers;
    slab = memory;
    count = buffers;
    bytes = each;
}

static void requested(unsigned char **buffer, unsigned long *size, unsigned long *records)
{
    *records = 0;
    for (int i = 0; i < count; i++) {
        if (states[i] != FREE || !exchange(states + i, FREE, TAKEN)) continue;
        *buffer = slab + i * bytes;
        *size = bytes;
        return;
    }
    *buffer = 0;
    *size = 0;
    increment(refused);
}

static void completed(void *context, unsigned stream, unsigned char *buffer, unsigned long size, unsigned long valid)
{
    int i;
    if (!buffer) return;
    i = (buffer - slab) / bytes;
    sizes[i] = valid;
    // An exchange, so that the size is seen before the state.
    exchange(states + i, TAKEN, FULL);
}

// For tests, which call them as CUPTI does.
void request(unsigned char **buffer, unsigned long *size, unsigned long *records) { requested(buffer, size, records); }
void complete(unsigned char *buffer, unsigned long size, unsigned long valid) { completed(0, 0, buffer, size, valid); }

void *requestedAddress(void) { return requested; }
void *completedAddress(void) { return completed; }
