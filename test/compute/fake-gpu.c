// A stand-in for a GPU, its driver and cuDNN, for tests where there is none. Device memory is the host's; everything put
// on a stream is done at once, by the definitions of the kernels of kernels/network.ptx and kernels/convolution and
// of cuDNN's fused convolution, and what is captured is kept and done when the graph is launched. It is far too slow for
// anything else.
// NVDEC is there without an engine, so that what decodes on the CPU does it all, NVML as far as it is asked, and CUPTI's
// records of what is done (fake-cupti.h).
//
// FAKE_GPUS: how many devices there are (1). FAKE_GPU_MIB: memory of each (4096).
// FAKE_NO_PEER: no device reaches another's memory. FAKE_CUDNN_WRONG: convolutions are a little off.
// FAKE_CAPABILITY: the major number of the compute capability (8). FAKE_WRONG_KERNELS: kernels/convolution adds 1 to each output.
// FAKE_QUICK: a thread's convolutions do nothing before it has recorded a graph: what they are measured for takes long.
// FAKE_GPU_USER: a process that NVML names as using the devices.
// FAKE_FAULT, as `cuGraphLaunch 3 700`: at its fourth call (counted from 0, in all threads) it fails with that status. If
// the status is of the kind after which a device is lost, all later calls fail with it; of a launch, only those.
//
// What real drivers may let pass is refused: streams, events and memory used with another device as the thread's.
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef _Float16 half;
typedef uint64_t u64;
typedef uint32_t u32;
enum {
  OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_CONTEXT = 201, ECC = 214, INVALID_PTX = 218, INVALID_HANDLE = 400,
  NOT_FOUND = 500, ILLEGAL_ADDRESS = 700, PEER_NOT_ENABLED = 705, LAUNCH_FAILED = 719, NOT_SUPPORTED = 801,
  CAPTURE_UNSUPPORTED = 900
};
enum { DEVICES = 8 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long used[DEVICES], alive;
static __thread u64 current;
static __thread int recorded;
static int here(void) { return current - 0x1000; }
static u64 setting(const char *name, u64 other) { return getenv(name) ? strtoull(getenv(name), 0, 10) : other; }
static u64 capacity(void) { return setting("FAKE_GPU_MIB", 4096) << 20; }
static void count(long objects, int device, long bytes) {
  pthread_mutex_lock(&lock);
  alive += objects, used[device] += bytes;
  pthread_mutex_unlock(&lock);
}

// ---- Faults.

static int lost[DEVICES], calls;
static char chosen[100];
/** As FAKE_FAULT, for what follows in a process that is running; an empty text for none. */
void fakeGpuFault(const char *asked) { snprintf(chosen, sizeof chosen, "%s", asked), calls = 0, memset(lost, 0, sizeof lost); }
/** What a call on this thread's device is to answer, if anything but what it does. */
static int fault(const char *call) {
  if (!current) return NO_CONTEXT;
  const char *asked = *chosen ? chosen : getenv("FAKE_FAULT");
  if (!asked) return OK;
  char which[64];
  int after, status, answer = OK;
  sscanf(asked, "%63s %d %d", which, &after, &status);
  pthread_mutex_lock(&lock);
  if (lost[here()]) answer = lost[here()];
  else if (!strcmp(which, call) && calls++ == after) {
    int launch = !strcmp(call, "cuGraphLaunch") || !strcmp(call, "cuLaunchKernel");
    int sticky = status == ECC || status == ILLEGAL_ADDRESS || status == LAUNCH_FAILED;
    if (sticky) lost[here()] = status;
    if (!sticky || !launch) answer = status;
  }
  pthread_mutex_unlock(&lock);
  return answer;
}
#define MAY_FAIL do { int status = fault(__func__); if (status) return status; } while (0)
/** Things that were made and not given back; contexts, too. */
long fakeGpuAlive(void) { return alive; }

// ---- Work: done at once, or kept while its stream is being captured.

struct Work { void (*run)(struct Work *); struct Work *next; };
struct Stream { int capturing; u64 context; struct Work *first, **last; };
struct Event { double ms; u64 context; };
struct Graph { struct Work *first; };

static u32 asked(void);
static void traced(struct Work *work, struct Stream *stream, u32 call, struct Graph *graph, u32 node);
static void perform(struct Work *work, size_t bytes, struct Stream *stream) {
  if (!stream->capturing) { traced(work, stream, asked(), 0, 0); return; }
  struct Work *kept = malloc(bytes);
  memcpy(kept, work, bytes);
  kept->next = 0;
  *stream->last = kept;
  stream->last = &kept->next;
}
static void forget(struct Work *work) {
  while (work) { struct Work *next = work->next; free(work); work = next; }
}

// ---- The driver: devices, contexts, memory.

int cuInit(u32 flags) { return OK; }
int cuDriverGetVersion(int *version) { return *version = 13000, OK; }
static const char *const NAMES[][3] = {
  [INVALID_VALUE] = { "CUDA_ERROR_INVALID_VALUE", "invalid argument" },
  [OUT_OF_MEMORY] = { "CUDA_ERROR_OUT_OF_MEMORY", "out of memory" },
  [NO_CONTEXT] = { "CUDA_ERROR_INVALID_CONTEXT", "invalid device context" },
  [ECC] = { "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered" },
  [INVALID_HANDLE] = { "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle" },
  [ILLEGAL_ADDRESS] = { "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered" },
  [PEER_NOT_ENABLED] = { "CUDA_ERROR_PEER_ACCESS_NOT_ENABLED", "peer access has not been enabled" },
  [LAUNCH_FAILED] = { "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure" },
  [INVALID_PTX] = { "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed" },
  [NOT_FOUND] = { "CUDA_ERROR_NOT_FOUND", "named symbol not found" },
  [NOT_SUPPORTED] = { "CUDA_ERROR_NOT_SUPPORTED", "operation not supported" },
  [CAPTURE_UNSUPPORTED] = { "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing" },
};
static int say(int status, int which, const char **text) {
  *text = status > 0 && status <= CAPTURE_UNSUPPORTED ? NAMES[status][which] : 0;
  return *text ? OK : INVALID_VALUE;
}
int cuGetErrorName(int status, const char **text) { return say(status, 0, text); }
int cuGetErrorString(int status, const char **text) { return say(status, 1, text); }

int cuDeviceGetCount(int *devices) { return *devices = setting("FAKE_GPUS", 1), OK; }
int cuDeviceGet(int *device, int index) {
  if (index < 0 || index >= setting("FAKE_GPUS", 1)) return 101;
  return *device = index, OK;
}
int cuDeviceGetName(char *name, int bytes, int device) { return snprintf(name, bytes, "stand-in GPU %d", device), OK; }
int cuDeviceGetAttribute(int *value, int which, int device) {
  // Clocks in kHz, the width of the memory's bus, and what a multiprocessor holds; 4 of everything else.
  static const int VALUES[][2] = {
    { 13, 1410000 }, { 36, 1215000 }, { 37, 5120 }, { 39, 2048 }, { 76, 0 }, { 81, 167936 }, { 82, 65536 }, { 106, 32 }, { 111, 1024 },
  };
  *value = which == 75 ? setting("FAKE_CAPABILITY", 8) : 4;
  for (int i = 0; i < 9; i++) if (VALUES[i][0] == which) *value = VALUES[i][1];
  return OK;
}
int cuDeviceGetUuid_v2(char *uuid, int device) { return memset(uuid, 0x10 + device, 16), OK; }
int cuDeviceTotalMem_v2(u64 *bytes, int device) { return *bytes = capacity(), OK; }
int cuDeviceCanAccessPeer(int *can, int device, int peer) { return *can = device != peer && !getenv("FAKE_NO_PEER"), OK; }

int cuDevicePrimaryCtxRetain(u64 *context, int device) { return *context = 0x1000 + device, count(1, 0, 0), OK; }
int cuDevicePrimaryCtxRelease_v2(int device) { return count(-1, 0, 0), OK; }
int cuCtxSetCurrent(u64 context) { return current = context, OK; }
int cuCtxGetCurrent(u64 *context) { return *context = current, OK; }
int cuCtxSynchronize(void) { MAY_FAIL; return OK; }
static char reaches[DEVICES][DEVICES];
int cuCtxEnablePeerAccess(u64 context, u32 flags) {
  if (!current || getenv("FAKE_NO_PEER")) return INVALID_VALUE;
  return reaches[here()][context - 0x1000] = 1, OK;
}

struct Memory { u64 room; int device; struct Memory *next; };
static struct Memory *memories;
/** The device that an address is on; -1 for the host's memory. */
static int deviceOfLocked(const void *address) {
  for (struct Memory *m = memories; m; m = m->next)
    if ((char *)address >= (char *)m + 256 && (char *)address < (char *)m + m->room) return m->device;
  return -1;
}
static int deviceOf(const void *address) {
  pthread_mutex_lock(&lock);
  int device = deviceOfLocked(address);
  pthread_mutex_unlock(&lock);
  return device;
}
int cuMemGetInfo_v2(u64 *unused, u64 *total) {
  MAY_FAIL;
  return *total = capacity(), *unused = *total - used[here()], OK;
}
int cuMemAlloc_v2(u64 *pointer, u64 bytes) {
  MAY_FAIL;
  if (bytes > capacity() - used[here()]) return OUT_OF_MEMORY;
  u64 room = (bytes + 511) / 256 * 256;
  struct Memory *memory = aligned_alloc(256, room);
  pthread_mutex_lock(&lock);
  *memory = (struct Memory){ room, here(), memories };
  memories = memory;
  pthread_mutex_unlock(&lock);
  *pointer = (u64)memory + 256;
  count(1, here(), room);
  return OK;
}
int cuMemFree_v2(u64 pointer) {
  MAY_FAIL;
  struct Memory *memory = (void *)(pointer - 256), **link = &memories;
  if (memory->device != here()) return INVALID_VALUE;
  pthread_mutex_lock(&lock);
  while (*link != memory) link = &(*link)->next;
  *link = memory->next;
  pthread_mutex_unlock(&lock);
  count(-1, here(), -(long)memory->room);
  return free(memory), OK;
}
int cuMemHostAlloc(void **pointer, u64 bytes, u32 flags) { MAY_FAIL; return *pointer = malloc(bytes), count(1, 0, 0), OK; }
int cuMemFreeHost(void *pointer) { return count(-1, 0, 0), free(pointer), OK; }
int cuMemHostRegister_v2(void *pointer, u64 bytes, u32 flags) { return count(1, 0, 0), OK; }
int cuMemHostUnregister(void *pointer) { return count(-1, 0, 0), OK; }

struct Copy { struct Work work; void *to; const void *from; u64 bytes; };
static void copy(struct Work *work) { struct Copy *c = (void *)work; memmove(c->to, c->from, c->bytes); }
static int copies(void *to, const void *from, u64 bytes, struct Stream *stream) {
  struct Copy c = { { copy }, to, from, bytes };
  if (stream->context != current) return INVALID_HANDLE;
  return perform(&c.work, sizeof c, stream), OK;
}
/** Ends of a copy must lie where its call says: on this thread's device, or with the host. */
static int misplaced(const void *to, int toHere, const void *from, int fromHere) {
  return deviceOf(to) != (toHere ? here() : -1) || deviceOf(from) != (fromHere ? here() : -1);
}
int cuMemcpyHtoDAsync_v2(void *to, void *from, u64 bytes, struct Stream *stream) {
  MAY_FAIL;
  return misplaced(to, 1, from, 0) ? INVALID_VALUE : copies(to, from, bytes, stream);
}
int cuMemcpyDtoHAsync_v2(void *to, void *from, u64 bytes, struct Stream *stream) {
  MAY_FAIL;
  return misplaced(to, 0, from, 1) ? INVALID_VALUE : copies(to, from, bytes, stream);
}
int cuMemcpyDtoDAsync_v2(void *to, void *from, u64 bytes, struct Stream *stream) {
  MAY_FAIL;
  return misplaced(to, 1, from, 1) ? INVALID_VALUE : copies(to, from, bytes, stream);
}
int cuMemcpyPeerAsync(void *to, u64 a, void *from, u64 b, u64 bytes, struct Stream *stream) {
  MAY_FAIL;
  if (deviceOf(to) != a - 0x1000 || deviceOf(from) != b - 0x1000) return INVALID_VALUE;
  if (a != b && !reaches[here()][b - 0x1000]) return PEER_NOT_ENABLED;
  return copies(to, from, bytes, stream);
}

struct Fill { struct Work work; u32 *to; u32 value; u64 bytes; int wide; };
static void fill(struct Work *work) {
  struct Fill *f = (void *)work;
  if (f->wide) for (u64 i = 0; i < f->bytes / 4; i++) f->to[i] = f->value;
  else memset(f->to, f->value, f->bytes);
}
int cuMemsetD8Async(void *to, unsigned char value, u64 bytes, struct Stream *stream) {
  struct Fill f = { { fill }, to, value, bytes, 0 };
  if (stream->context != current || deviceOf(to) != here()) return INVALID_HANDLE;
  return perform(&f.work, sizeof f, stream), OK;
}
int cuMemsetD32Async(void *to, u32 value, u64 words, struct Stream *stream) {
  struct Fill f = { { fill }, to, value, 4 * words, 1 };
  return perform(&f.work, sizeof f, stream), OK;
}

// ---- Streams and events.

int cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  MAY_FAIL;
  return *least = 0, *greatest = -5, OK;
}
int cuStreamCreateWithPriority(struct Stream **stream, u32 flags, int priority) {
  MAY_FAIL;
  if (priority < -5 || priority > 0) return INVALID_VALUE;
  *stream = calloc(1, sizeof **stream);
  (*stream)->context = current;
  return count(1, 0, 0), OK;
}
int cuStreamDestroy_v2(struct Stream *stream) { return free(stream), count(-1, 0, 0), OK; }
int cuStreamSynchronize(struct Stream *stream) { MAY_FAIL; return stream->capturing ? CAPTURE_UNSUPPORTED : OK; }
int cuStreamQuery(struct Stream *stream) { MAY_FAIL; return OK; }
int cuStreamWaitEvent(struct Stream *stream, struct Event *event, u32 flags) {
  MAY_FAIL;
  return stream->context != current ? INVALID_HANDLE : OK;
}
int cuEventCreate(struct Event **event, u32 flags) {
  MAY_FAIL;
  *event = calloc(1, sizeof **event);
  (*event)->context = current;
  return count(1, 0, 0), OK;
}
int cuEventDestroy_v2(struct Event *event) { return free(event), count(-1, 0, 0), OK; }
int cuEventRecord(struct Event *event, struct Stream *stream) {
  MAY_FAIL;
  struct timespec now;
  if (event->context != stream->context || stream->context != current) return INVALID_HANDLE;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return event->ms = now.tv_sec * 1e3 + now.tv_nsec / 1e6, OK;
}
int cuEventSynchronize(struct Event *event) { MAY_FAIL; return OK; }
int cuEventQuery(struct Event *event) { MAY_FAIL; return OK; }
int cuEventElapsedTime(float *ms, struct Event *start, struct Event *end) { return *ms = end->ms - start->ms + (getenv("FAKE_QUICK") ? 1 : 1e-3), OK; }

int cuStreamBeginCapture_v2(struct Stream *stream, int mode) {
  stream->capturing = 1, stream->first = 0, stream->last = &stream->first;
  return OK;
}
int cuStreamEndCapture(struct Stream *stream, struct Graph **graph) {
  recorded = 1;
  *graph = malloc(sizeof **graph);
  (*graph)->first = stream->first;
  stream->capturing = 0;
  return count(1, 0, 0), OK;
}
int cuGraphGetNodes(struct Graph *graph, void *nodes, u64 *number) {
  *number = 0;
  for (struct Work *work = graph->first; work; work = work->next) ++*number;
  return OK;
}
int cuGraphInstantiateWithFlags(struct Graph **exec, struct Graph *graph, u64 flags) {
  *exec = malloc(sizeof **exec);
  **exec = *graph;
  graph->first = 0;
  return count(1, 0, 0), OK;
}
int cuGraphDestroy(struct Graph *graph) { return forget(graph->first), free(graph), count(-1, 0, 0), OK; }
int cuGraphExecDestroy(struct Graph *graph) { return cuGraphDestroy(graph); }
int cuGraphUpload(struct Graph *graph, struct Stream *stream) { return OK; }
int cuGraphLaunch(struct Graph *graph, struct Stream *stream) {
  MAY_FAIL;
  if (stream->context != current) return INVALID_HANDLE;
  u32 call = asked(), node = 0;
  for (struct Work *work = graph->first; work; work = work->next) traced(work, stream, call, graph, ++node);
  return OK;
}

// ---- Kernels, by the contracts in kernels/network.ptx.

static float load(const void *from, int isHalf, u64 i) { return isHalf ? ((const half *)from)[i] : ((const float *)from)[i]; }
static void store(void *to, int isHalf, u64 i, float value) {
  if (isHalf) ((half *)to)[i] = value;
  else ((float *)to)[i] = value;
}

struct Arrange { struct Work work; void *from, *to; u32 channels, padded, frames, height, width, halves; u64 n; u32 c, t, y, x, clips; };
static void arrange(struct Work *work) {
  struct Arrange *a = (void *)work;
  u64 at = 0;
  for (u32 n = 0; n < a->clips; n++)
    for (u32 t = 0; t < a->frames; t++)
      for (u32 y = 0; y < a->height; y++)
        for (u32 x = 0; x < a->width; x++)
          for (u32 c = 0; c < a->padded; c++, at++) {
            u64 place = n * a->n + (u64)c * a->c + (u64)t * a->t + (u64)y * a->y + (u64)x * a->x;
            store(a->to, a->halves & 2, at, c < a->channels ? load(a->from, a->halves & 1, place) : 0);
          }
}
struct Pick { struct Work work; char *from, *to; u32 pieces, frames, height, width, n, t, y, x, clips; };
static void pick(struct Work *work) {
  struct Pick *p = (void *)work;
  char *to = p->to;
  for (u32 n = 0; n < p->clips; n++)
    for (u32 t = 0; t < p->frames; t++)
      for (u32 y = 0; y < p->height; y++)
        for (u32 x = 0; x < p->width; x++, to += 16 * p->pieces)
          memcpy(to, p->from + 16 * ((u64)n * p->n + (u64)t * p->t + (u64)y * p->y + (u64)x * p->x), 16 * p->pieces);
}
struct Pool { struct Work work; void *from; float *to; u32 places, padded, halves, clips; };
static void pool(struct Work *work) {
  struct Pool *p = (void *)work;
  for (u64 n = 0; n < p->clips; n++)
    for (u64 c = 0; c < p->padded; c++) {
      float sum = 0;
      for (u64 i = 0; i < p->places; i++) sum += load(p->from, p->halves, (n * p->places + i) * p->padded + c);
      p->to[n * p->padded + c] = sum / p->places;
    }
}
struct Linear { struct Work work; float *from, *weight, *bias, *to; u32 features, classes, clips; };
static void linear(struct Work *work) {
  struct Linear *l = (void *)work;
  for (u64 n = 0; n < l->clips; n++)
    for (u64 k = 0; k < l->classes; k++) {
      float sum = l->bias[k];
      for (u64 f = 0; f < l->features; f++) sum += l->from[n * l->features + f] * l->weight[k * l->features + f];
      l->to[n * l->classes + k] = sum;
    }
}

static float dot(const float *a, const float *b, int64_t count) {
  float sum = 0;
  for (int64_t i = 0; i < count; i++) sum += a[i] * b[i];
  return sum;
}
static float *floats(const void *from, int isHalf, u64 count) {
  float *all = malloc(4 * count);
  for (u64 i = 0; i < count; i++) all[i] = load(from, isHalf, i);
  return all;
}
static float finish(float sum, const float *bias, const void *residual, int isHalf, u32 flags, u64 at, u32 n) {
  sum += bias[n];
  if (residual) sum += load(residual, isHalf, at);
  if (flags & 1 && sum < 0) sum = 0;
  return getenv("FAKE_WRONG_KERNELS") ? sum + 1 : sum;
}
struct Convolution {
  struct Work work; void *input, *filter; float *bias; void *residual, *output;
  u32 places, channels, height, width, outHeight, outWidth, pieces, depth, columns, strideY, strideX, padY, padX;
  u32 perPieces, perColumns, tilesN, stagesOfPart, flags, parts; int isHalf;
};
static void convolution(struct Work *work) {
  struct Convolution *v = (void *)work;
  u64 piece = v->isHalf ? 8 : 4, c = v->pieces * piece, depth = v->depth * piece, images = v->places / (v->outHeight * v->outWidth);
  float *from = floats(v->input, v->isHalf, images * v->height * v->width * c);
  float *filter = floats(v->filter, v->isHalf, v->channels * depth);
  for (u64 part = 0; part < v->parts; part++)
    for (u64 m = 0; m < v->places; m++)
      for (u64 n = 0; n < v->channels; n++) {
        int64_t ow = m % v->outWidth, oh = m / v->outWidth % v->outHeight, image = m / v->outWidth / v->outHeight;
        float sum = 0;
        for (u64 tap = 0; tap < v->depth / v->pieces; tap++) {
          int64_t y = oh * v->strideY + tap / v->columns - v->padY, x = ow * v->strideX + tap % v->columns - v->padX;
          if (y < 0 || y >= v->height || x < 0 || x >= v->width) continue;
          // Of this tap, what is in the part's stages of four pieces.
          u64 begin = part * v->stagesOfPart * 4, end = begin + v->stagesOfPart * 4, first = tap * v->pieces, last = first + v->pieces;
          if (begin < first) begin = first;
          if (end > last) end = last;
          if (begin < end)
            sum += dot(from + ((image * v->height + y) * v->width + x) * c + (begin - first) * piece, filter + n * depth + begin * piece, (end - begin) * piece);
        }
        u64 at = m * v->channels + n;
        if (v->flags & 2) ((float *)v->output)[part * v->places * v->channels + at] = sum;
        else store(v->output, v->isHalf, at, finish(sum, v->bias, v->residual, v->isHalf, v->flags, at, n));
      }
  free(from), free(filter);
}
struct Reduce { struct Work work; float *sums, *bias; void *residual, *output; u32 groups, groupsOfPlace, parts, flags; int isHalf; };
static void reduce(struct Work *work) {
  struct Reduce *r = (void *)work;
  for (u64 at = 0; at < 8ul * r->groups; at++) {
    float sum = 0;
    for (u64 part = 0; part < r->parts; part++) sum += r->sums[part * 8 * r->groups + at];
    store(r->output, r->isHalf, at, finish(sum, r->bias, r->residual, r->isHalf, r->flags, at, at % (8 * r->groupsOfPlace)));
  }
}

/** Frames to clips, by the formula "rnb" alone: kernels/clip.ptx says what the parameter holds. */
struct ClipFrame { const unsigned char *luma, *chroma; char *out; };
struct ClipParameter {
  int width, height, pitch, size, resizedX, cropX, resizedY, cropY, flags, layout, channels, plane;
  float matrix[3][4], gain[3], bias[3];
  struct ClipFrame frames[16];
};
struct Clip { struct Work work; struct ClipParameter p; u32 frames; };
static double clamped(double value, double most) { return value < 0 ? 0 : value > most ? most : value; }
/** Between four samples; `every` samples lie from one to the next, `first` is the place among them. */
static double between(const unsigned char *plane, int pitch, int wide, int every, int first, double x, double y, int width, int height) {
  x = clamped(x, width - 1), y = clamped(y, height - 1);
  int x0 = x, y0 = y, x1 = x0 + (x0 < width - 1), y1 = y0 + (y0 < height - 1);
  double sum = 0;
  for (int corner = 0; corner < 4; corner++) {
    int column = (corner & 1 ? x1 : x0) * every + first;
    const unsigned char *row = plane + (u64)pitch * (corner & 2 ? y1 : y0);
    double sample = wide ? ((const uint16_t *)row)[column] : row[column];
    sum += sample * (corner & 1 ? x - x0 : 1 - (x - x0)) * (corner & 2 ? y - y0 : 1 - (y - y0));
  }
  return sum;
}
static void clip(struct Work *work) {
  struct ClipParameter *p = &((struct Clip *)work)->p;
  int wide = p->flags & 1, cw = (p->width + 1) / 2, ch = (p->height + 1) / 2;
  for (u32 f = 0; f < ((struct Clip *)work)->frames; f++)
    for (int row = 0; row < p->size; row++)
      for (int column = 0; column < p->size; column++) {
        int i = p->flags & 8 ? row : column, j = p->flags & 8 ? column : row;
        if (p->flags & 2) i = p->size - 1 - i;
        if (p->flags & 4) j = p->size - 1 - j;
        double x = clamped((p->cropX + i + 0.5) * p->width / p->resizedX - 0.5, p->width - 1);
        double y = clamped((p->cropY + j + 0.5) * p->height / p->resizedY - 0.5, p->height - 1);
        const struct ClipFrame *frame = &p->frames[f];
        double luma = between(frame->luma, p->pitch, wide, 1, 0, x, y, p->width, p->height);
        double cb = between(frame->chroma, p->pitch, wide, 2, 0, x / 2, (y - 0.5) / 2, cw, ch);
        double cr = between(frame->chroma, p->pitch, wide, 2, 1, x / 2, (y - 0.5) / 2, cw, ch);
        for (int c = 0; c < (p->layout ? p->channels : 3); c++) {
          const float *m = p->matrix[c < 3 ? c : 0];
          double value = clamped(m[0] * luma + m[1] * cb + m[2] * cr + m[3], 1) * p->gain[c < 3 ? c : 0] + p->bias[c < 3 ? c : 0];
          u64 pixel = (u64)row * p->size + column;
          store(frame->out, p->layout == 1, p->layout ? pixel * p->channels + c : (u64)c * p->plane + pixel, c < 3 ? value : 0);
        }
      }
}

int cuModuleLoadDataEx(char **module, const char *ptx, u32 options, int *which, void **values) {
  MAY_FAIL;
  if (!strstr(ptx, ".entry")) return INVALID_PTX;
  return *module = strdup(ptx), count(1, 0, 0), OK;
}
int cuModuleUnload(char *module) { return free(module), count(-1, 0, 0), OK; }
static const char *const KERNELS[] = { "arrange", "pick", "pool", "linear", "convolution", "reduce", "clip" };
enum { CLIP = 7 };
int cuModuleGetFunction(u64 *function, char *module, const char *name) {
  char entry[200];
  snprintf(entry, sizeof entry, ".entry %s(", name);
  if (!strstr(module, entry)) return NOT_FOUND;
  *function = 99;
  for (int i = 0; i < 7; i++) if (!strcmp(name, KERNELS[i])) *function = 1 + i;
  // A kernel that rounds to float16 has tensors of it.
  if (strstr(module, "cvt.rn.f16x2.f32") && *function >= 5 && *function <= 6) *function += 10;
  return OK;
}
int cuFuncGetAttribute(int *value, int which, u64 function) { return *value = which == 4 ? 32 : 0, OK; }
int cuFuncSetAttribute(u64 function, int which, int value) { return OK; }
int cuLaunchKernelEx(void) { return NOT_SUPPORTED; }
int cuTensorMapEncodeTiled(void) { return NOT_SUPPORTED; }
int cuTensorMapEncodeIm2col(void) { return NOT_SUPPORTED; }

#define P(i) (*(void **)args[i])
#define W(i) (*(u32 *)args[i])
int cuLaunchKernel(u64 function, u32 gx, u32 gy, u32 gz, u32 bx, u32 by, u32 bz, u32 shared, struct Stream *stream, void **args, void **extra) {
  MAY_FAIL;
  if (stream->context != current) return INVALID_HANDLE;
  if (function == 1) {
    struct Arrange a = { { arrange }, P(0), P(1), W(2), W(3), W(4), W(5), W(6), W(7), *(u64 *)args[8], W(9), W(10), W(11), W(12), gz };
    if (gx != (a.frames * a.height * a.width + 255) / 256 || gy != a.padded / 8 || bx != 256) return INVALID_VALUE;
    perform(&a.work, sizeof a, stream);
  } else if (function == 2) {
    struct Pick p = { { pick }, P(0), P(1), W(2), W(3), W(4), W(5), W(6), W(7), W(8), W(9), gy };
    if (gx != (p.frames * p.height * p.width * p.pieces + 255) / 256 || bx != 256) return INVALID_VALUE;
    perform(&p.work, sizeof p, stream);
  } else if (function == 3) {
    struct Pool p = { { pool }, P(0), P(1), W(2), W(3), W(4), gy };
    if (gx != (p.padded + 31) / 32 || bx != 32 || by != 8) return INVALID_VALUE;
    perform(&p.work, sizeof p, stream);
  } else if (function == 4) {
    struct Linear l = { { linear }, P(0), P(1), P(2), P(3), W(4), W(5), gy };
    if (gx != (l.classes + 7) / 8 || bx != 32 || by != 8) return INVALID_VALUE;
    perform(&l.work, sizeof l, stream);
  } else if (function == 5 || function == 15) {
    struct Convolution v = { { convolution }, P(0), P(1), P(2), P(3), P(4), W(5), W(6), W(7), W(8), W(9), W(10), W(11), W(12), W(13), W(14), W(15), W(16), W(17), W(18), W(19), W(20), W(21), W(22), gz, function == 15 };
    if (gx % v.tilesN || gy != 1 || !v.input || !v.filter || !v.bias || !v.output) return INVALID_VALUE;
    perform(&v.work, sizeof v, stream);
  } else if (function == 6 || function == 16) {
    struct Reduce r = { { reduce }, P(0), P(1), P(2), P(3), W(4), W(5), W(6), W(7), function == 16 };
    if (gx != (r.groups + 255) / 256 || bx != 256) return INVALID_VALUE;
    perform(&r.work, sizeof r, stream);
  } else if (function == CLIP) {
    struct Clip c = { { clip }, *(struct ClipParameter *)args[0], gz };
    if (c.p.flags & 16) return NOT_SUPPORTED;
    if (gx != (c.p.size + 15) / 16 || gy != gx || bx != 16 || by != 16) return INVALID_VALUE;
    perform(&c.work, sizeof c, stream);
  } else return NOT_SUPPORTED;
  return OK;
}

// ---- cuDNN's graph API: descriptors are lists of attributes, and a plan does the fused convolution that it leads to.

enum { ENGINE = 2, ENGINECFG = 3, OP_CONVOLUTION = 10 };
struct Attribute { int name; int64_t count; void *data; struct Attribute *next; };
struct Descriptor { int type, done; int64_t index; struct Descriptor *of; struct Attribute *attributes; };
struct Handle { struct Stream *stream; };

enum { EXECUTION_FAILED = 5000 };
u64 cudnnGetVersion(void) { return 91900; }
const char *cudnnGetErrorString(int status) { return status == 2000 ? "CUDNN_STATUS_BAD_PARAM" : "CUDNN_STATUS_NOT_SUPPORTED"; }
static __thread const char *last = "";
void cudnnGetLastErrorString(char *text, u64 bytes) { snprintf(text, bytes, "%s", last); }
static int bad(const char *why) { return last = why, 2000; }
#define CUDNN_MAY_FAIL do { if (current && fault(__func__)) return EXECUTION_FAILED; } while (0)
int cudnnCreate(struct Handle **handle) { CUDNN_MAY_FAIL; return *handle = calloc(1, sizeof **handle), count(1, 0, 0), 0; }
int cudnnDestroy(struct Handle *handle) { return free(handle), count(-1, 0, 0), 0; }
int cudnnSetStream(struct Handle *handle, struct Stream *stream) { CUDNN_MAY_FAIL; return handle->stream = stream, 0; }

int cudnnBackendCreateDescriptor(int type, struct Descriptor **d) {
  CUDNN_MAY_FAIL;
  if (type == 38) return bad("a device that is not there is not known here");
  *d = calloc(1, sizeof **d);
  (*d)->type = type;
  return count(1, 0, 0), 0;
}
int cudnnBackendDestroyDescriptor(struct Descriptor *d) {
  for (struct Attribute *a = d->attributes, *next; a; a = next) next = a->next, free(a->data), free(a);
  return free(d), count(-1, 0, 0), 0;
}
int cudnnBackendFinalize(struct Descriptor *d) { CUDNN_MAY_FAIL; return d->done ? bad("finalized twice") : (d->done = 1, 0); }

static int sizeOf(int type) { return type == 2 || type == 24 ? 1 : type == 0 || type == 3 || type == 5 || type == 6 || type == 15 ? 8 : 4; }
int cudnnBackendSetAttribute(struct Descriptor *d, int name, int type, int64_t number, const void *values) {
  CUDNN_MAY_FAIL;
  if (d->done) return bad("set after finalize");
  struct Attribute *a = malloc(sizeof *a);
  *a = (struct Attribute){ name, number, malloc(number * sizeOf(type)), d->attributes };
  memcpy(a->data, values, number * sizeOf(type));
  d->attributes = a;
  return 0;
}
static struct Attribute *find(struct Descriptor *d, int name) {
  for (struct Attribute *a = d->attributes; a; a = a->next) if (a->name == name) return a;
  return 0;
}
static struct Descriptor *link(struct Descriptor *d, int name) { return *(struct Descriptor **)find(d, name)->data; }

int cudnnBackendGetAttribute(struct Descriptor *d, int name, int type, int64_t most, int64_t *number, void *values) {
  CUDNN_MAY_FAIL;
  if (!d->done && d->type != ENGINECFG && d->type != ENGINE) return bad("read before finalize");
  struct Descriptor **made = values;
  *number = 1;
  if (name == 202) {
    // The second engine of two uses tensor cores; what just works does not.
    int fallback = *(int *)find(d, 200)->data == 2;
    *number = fallback ? 1 : 2;
    for (int64_t i = 0; i < *number && i < most; i++) made[i]->index = fallback ? 9 : i, made[i]->of = link(d, 201);
  } else if (name == 301 || name == 300) made[0]->index = d->index;
  else if (name == 1301) *(int64_t *)values = d->index;
  else if (name == 1303) *number = d->index == 1, *(int *)values = 0;
  else if (name == 402) *(int64_t *)values = 64;
  else return bad("no such attribute");
  return 0;
}

struct Tensor { void *data; int64_t uid, dims[4], strides[4]; int isHalf; };
static struct Tensor tensor(struct Descriptor *d, struct Descriptor *pack) {
  struct Tensor t = { 0 };
  t.uid = *(int64_t *)find(d, 906)->data;
  memcpy(t.dims, find(d, 902)->data, 32);
  memcpy(t.strides, find(d, 903)->data, 32);
  if (t.strides[1] != 1 || t.strides[3] != t.dims[1]) abort();
  t.isHalf = *(int *)find(d, 901)->data == 2;
  struct Attribute *uids = find(pack, 1000), *pointers = find(pack, 1001);
  for (int64_t i = 0; i < uids->count; i++)
    if (((int64_t *)uids->data)[i] == t.uid) t.data = ((void **)pointers->data)[i];
  return t;
}
static float element(struct Tensor *t, int64_t n, int64_t c, int64_t h, int64_t w) {
  return load(t->data, t->isHalf, n * t->strides[0] + c * t->strides[1] + h * t->strides[2] + w * t->strides[3]);
}

struct Convolve { struct Work work; struct Tensor x, w, y, z, b; int64_t stride[2], padding[2]; int relu; };
/** A dense tensor's elements as float32, in the order in which they lie. */
static float *floatsOf(struct Tensor *t) { return floats(t->data, t->isHalf, t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3]); }
static void convolve(struct Work *work) {
  struct Convolve *v = (void *)work;
  struct Tensor *x = &v->x, *w = &v->w, *y = &v->y;
  float *from = floatsOf(x), *filter = floatsOf(w);
  int64_t channels = x->dims[1];
  for (int64_t n = 0; n < y->dims[0]; n++)
    for (int64_t oh = 0; oh < y->dims[2]; oh++)
      for (int64_t ow = 0; ow < y->dims[3]; ow++)
        for (int64_t k = 0; k < y->dims[1]; k++) {
          float sum = 0;
          for (int64_t r = 0; r < w->dims[2]; r++) {
            int64_t h = oh * v->stride[0] + r - v->padding[0];
            if (h < 0 || h >= x->dims[2]) continue;
            for (int64_t s = 0; s < w->dims[3]; s++) {
              int64_t i = ow * v->stride[1] + s - v->padding[1];
              if (i < 0 || i >= x->dims[3]) continue;
              sum += dot(from + n * x->strides[0] + h * x->strides[2] + i * x->strides[3],
                         filter + k * w->strides[0] + r * w->strides[2] + s * w->strides[3], channels);
            }
          }
          if (v->z.data) sum += element(&v->z, n, k, oh, ow);
          if (v->b.data) sum += element(&v->b, 0, k, 0, 0);
          if (getenv("FAKE_CUDNN_WRONG") && k == 1) sum += 0.5;
          // NaN stays NaN: what nothing wrote must show.
          if (v->relu && sum < 0) sum = 0;
          store(y->data, y->isHalf, n * y->strides[0] + k * y->strides[1] + oh * y->strides[2] + ow * y->strides[3], sum);
        }
  free(from), free(filter);
}

int cudnnBackendExecute(struct Handle *handle, struct Descriptor *plan, struct Descriptor *pack) {
  if (!plan->done || !pack->done) return bad("not finalized");
  if (fault(__func__)) return EXECUTION_FAILED;
  struct Attribute *operations = find(link(plan, 401)->of, 801);
  struct Convolve v = { { convolve } };
  for (int64_t i = 0; i < operations->count; i++) {
    struct Descriptor *op = ((struct Descriptor **)operations->data)[i];
    if (op->type == OP_CONVOLUTION) {
      struct Descriptor *c = link(op, 702);
      v.x = tensor(link(op, 704), pack), v.w = tensor(link(op, 703), pack), v.y = tensor(link(op, 705), pack);
      memcpy(v.stride, find(c, 103)->data, 16);
      memcpy(v.padding, find(c, 105)->data, 16);
      continue;
    }
    v.y = tensor(link(op, 753), pack);
    if (find(op, 752)) {
      struct Tensor other = tensor(link(op, 752), pack);
      // The numbers that ffi/cudnn/graph.ts gives its tensors.
      if (other.uid == 5) v.b = other;
      else v.z = other;
    } else v.relu = 1;
  }
  if (!v.x.data || !v.w.data || !v.y.data) return bad("a tensor without memory");
  if (recorded || handle->stream->capturing || !getenv("FAKE_QUICK")) perform(&v.work, sizeof v, handle->stream);
  return 0;
}

#include "fake-cupti.h"

// ---- NVML, as far as it is asked who uses a device.

int nvmlInit_v2(void) { return 0; }
const char *nvmlErrorString(int status) { return "an error"; }
int nvmlSystemGetDriverVersion(char *text, u32 bytes) { return snprintf(text, bytes, "580.0"), 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, u64 *device) {
  u32 first;
  // GPU-10101010-...: the first of 16 equal bytes.
  if (sscanf(uuid, "GPU-%2x", &first) != 1) return 2;
  return *device = 0x2000 + first - 0x10, 0;
}
int nvmlDeviceGetMemoryInfo(u64 device, u64 *info) {
  u64 driver = 1 << 20;
  info[0] = capacity() + driver, info[2] = used[device - 0x2000] + driver, info[1] = info[0] - info[2];
  return 0;
}
int nvmlDeviceGetComputeRunningProcesses_v3(u64 device, u32 *number, u32 *processes) {
  u32 user = setting("FAKE_GPU_USER", 0);
  *number = user > 0;
  if (user) memset(processes, 0, 24), processes[0] = user;
  return 0;
}
int nvmlSystemGetProcessName(u32 pid, char *name, u32 bytes) { return snprintf(name, bytes, "other"), 0; }

// ---- NVDEC, without an engine: every codec is refused, and what is on the CPU decodes.

int cuvidGetDecoderCaps(void *caps) { MAY_FAIL; return OK; }
#define ABSENT(name) int name(void) { return NOT_SUPPORTED; }
ABSENT(cuvidCreateVideoParser) ABSENT(cuvidParseVideoData) ABSENT(cuvidDestroyVideoParser)
ABSENT(cuvidCreateDecoder) ABSENT(cuvidReconfigureDecoder) ABSENT(cuvidDestroyDecoder)
ABSENT(cuvidDecodePicture) ABSENT(cuvidGetDecodeStatus) ABSENT(cuvidMapVideoFrame64) ABSENT(cuvidUnmapVideoFrame64)
ABSENT(cuvidCtxLockCreate) ABSENT(cuvidCtxLockDestroy) ABSENT(cuvidCtxLock) ABSENT(cuvidCtxUnlock)
