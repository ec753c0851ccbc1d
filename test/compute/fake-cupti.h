// CUPTI's activity records of what the stand-in GPU does; part of fake-gpu.c. Times are CLOCK_REALTIME's, as CUPTI's are.
//
// FAKE_CUPTI_DENIED: nobody may record anything. FAKE_CUPTI_DROPS: so many records are said to have been dropped.
// FAKE_COUNTERS_DENIED: nobody may read counters.
// Kernels of a graph are handed over before those of other launches and in reverse, as no order is promised.

enum { CUPTI_LIMIT = 12, CUPTI_DENIED = 35 };
enum { MEMCPY = 1, MEMSET = 2, KERNEL = 10, MEMCPY2 = 22, EXTERNAL = 39 };
enum { EACH = 256, ROOM = 1 << 20 };

static void (*wanted)(unsigned char **, size_t *, size_t *);
static void (*done)(void *, u32, unsigned char *, size_t, size_t);
static int tracing[64];
static u32 correlations;
static __thread u64 pushed[8];
static __thread int depth;
// All records since the last flush, each in EACH bytes.
static unsigned char *kept;
static u64 held;

int cuptiGetVersion(u32 *version) { return *version = 130001, 0; }
int cuptiGetTimestamp(u64 *now) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return *now = t.tv_sec * 1000000000ull + t.tv_nsec, 0;
}
int cuptiGetResultString(int status, const char **text) {
  return *text = status == CUPTI_DENIED ? "CUPTI_ERROR_INSUFFICIENT_PRIVILEGES" : "CUPTI_ERROR_UNKNOWN", 0;
}
int cuptiActivityRegisterCallbacks(void *request, void *complete) { return wanted = request, done = complete, 0; }
int cuptiActivityEnable(int kind) { return getenv("FAKE_CUPTI_DENIED") ? CUPTI_DENIED : (tracing[kind] = 1, 0); }
int cuptiActivityDisable(int kind) { return tracing[kind] = 0; }
int cuptiActivityEnableDriverApi(u32 call, unsigned char on) { return 0; }
int cuptiActivityPushExternalCorrelationId(int kind, u64 id) { return pushed[depth++] = id, 0; }
int cuptiActivityPopExternalCorrelationId(int kind, u64 *id) { return *id = pushed[--depth], 0; }
static u32 numberOf(struct Graph *graph) { return (u64)graph >> 4 & 0xfffff; }
int cuptiGetGraphExecId(struct Graph *graph, u32 *id) { return *id = numberOf(graph), 0; }
int cuptiActivityGetNumDroppedRecords(void *context, u32 stream, u64 *dropped) { return *dropped = setting("FAKE_CUPTI_DROPS", 0), 0; }

static unsigned char *record(int kind) {
  if (!kept) kept = malloc((u64)ROOM * EACH);
  if (held == ROOM) abort();
  unsigned char *r = memset(kept + held++ * EACH, 0, EACH);
  *(u32 *)r = kind;
  return r;
}
#define AT(type, offset) (*(type *)(r + (offset)))

/** Notes who asked for what follows. @returns the number of the call */
static u32 asked(void) {
  pthread_mutex_lock(&lock);
  u32 call = ++correlations;
  if (tracing[EXTERNAL] && depth > 0) {
    unsigned char *r = record(EXTERNAL);
    AT(u32, 4) = 3, AT(u64, 8) = pushed[depth - 1], AT(u32, 16) = call;
  }
  pthread_mutex_unlock(&lock);
  return call;
}

static const struct { void (*run)(struct Work *); const char *name; } NAMED[] = {
  { arrange, "arrange" }, { pick, "pick" }, { pool, "pool" }, { linear, "linear" }, { convolution, "convolution" },
  { reduce, "reduce" }, { clip, "clip" }, { convolve, "cudnn_convolution" },
};

/** Kernels since counters began to be read, if they are. */
static __thread int counting;
static __thread u64 ranges;

/** Does a piece of work, and notes when. */
static void traced(struct Work *work, struct Stream *stream, u32 call, struct Graph *graph, u32 node) {
  if (counting && work->run != copy && work->run != fill) ranges++;
  u64 start, end, graphId = graph ? numberOf(graph) : 0;
  cuptiGetTimestamp(&start);
  work->run(work);
  if (!tracing[KERNEL]) return;
  // No two of one stream begin at the same time.
  do cuptiGetTimestamp(&end); while (end == start);
  pthread_mutex_lock(&lock);
  u32 device = stream->context - 0x1000, id = (u64)stream >> 4;
  u64 nodeId = graph ? graphId << 32 | node : 0;
  if (work->run == copy) {
    struct Copy *c = (void *)work;
    int to = deviceOfLocked(c->to), from = deviceOfLocked(c->from), peer = to >= 0 && from >= 0 && to != from;
    unsigned char *r = record(peer ? MEMCPY2 : MEMCPY);
    AT(unsigned char, 4) = peer ? 10 : to < 0 ? 2 : from < 0 ? 1 : 8;
    AT(u64, 8) = c->bytes, AT(u64, 16) = start, AT(u64, 24) = end, AT(u32, 32) = device, AT(u32, 40) = id;
    if (peer) AT(u32, 44) = from, AT(u32, 52) = to, AT(u32, 60) = call;
    else AT(u32, 44) = call, AT(u64, 64) = nodeId, AT(u32, 72) = graphId;
  } else if (work->run == fill) {
    unsigned char *r = record(MEMSET);
    AT(u64, 8) = ((struct Fill *)work)->bytes, AT(u64, 16) = start, AT(u64, 24) = end;
    AT(u32, 32) = device, AT(u32, 40) = id, AT(u32, 44) = call, AT(u64, 64) = nodeId, AT(u32, 72) = graphId;
  } else {
    unsigned char *r = record(KERNEL);
    const char *name = "unknown";
    for (int i = 0; i < 8; i++) if (NAMED[i].run == work->run) name = NAMED[i].name;
    AT(unsigned short, 6) = 64, AT(u64, 16) = start, AT(u64, 24) = end, AT(u32, 40) = device, AT(u32, 48) = id;
    for (int i = 0; i < 3; i++) AT(int, 52 + 4 * i) = 10 - i, AT(int, 64 + 4 * i) = i ? 1 : 256;
    AT(int, 76) = 1024, AT(int, 80) = 40960, AT(u32, 92) = call, AT(const char *, 104) = name;
    AT(u64, 144) = nodeId, AT(u32, 156) = graphId;
  }
  pthread_mutex_unlock(&lock);
}

int cuptiActivityFlushAll(u32 flag) {
  pthread_mutex_lock(&lock);
  // From the last on: kernels before those who asked for them.
  for (u64 left = held; left > 0;) {
    unsigned char *buffer;
    size_t bytes, most;
    wanted(&buffer, &bytes, &most);
    if (!buffer) break;
    u64 fit = bytes / EACH < left ? bytes / EACH : left;
    for (u64 i = 0; i < fit; i++) memcpy(buffer + i * EACH, kept + (left - 1 - i) * EACH, EACH);
    done(0, 0, buffer, bytes, fit * EACH);
    left -= fit;
  }
  held = 0;
  pthread_mutex_unlock(&lock);
  return 0;
}
int cuptiActivityGetNextRecord(unsigned char *buffer, size_t valid, unsigned char **record) {
  unsigned char *next = *record ? *record + EACH : buffer;
  return next >= buffer + valid ? CUPTI_LIMIT : (*record = next, 0);
}

// ---- Counters: every kernel is a range of its own, and has 25 % of its warps, more with each range.

#define PARAMETER(type, offset) (*(type *)(p + (offset)))
/** A call whose struct of parameters has so many bytes. */
#define COUNTERS(name, bytes) int name(unsigned char *p) { if (PARAMETER(u64, 0) != bytes) return INVALID_VALUE;
#define END return 0; }
static unsigned char *image;

COUNTERS(cuptiProfilerInitialize, 16) END
COUNTERS(cuptiDeviceGetChipName, 32) PARAMETER(const char *, 24) = "GH100"; END
COUNTERS(cuptiProfilerGetCounterAvailability, 40) PARAMETER(u64, 24) = 64; END
COUNTERS(cuptiProfilerHostInitialize, 48) if (strcmp(PARAMETER(char *, 24), "GH100")) return INVALID_VALUE; PARAMETER(u64, 40) = 7; END
COUNTERS(cuptiProfilerHostDeinitialize, 24) END
COUNTERS(cuptiProfilerHostConfigAddMetrics, 40) if (PARAMETER(u64, 32) != 4) return INVALID_VALUE; END
COUNTERS(cuptiProfilerHostGetConfigImageSize, 32) PARAMETER(u64, 24) = 100; END
COUNTERS(cuptiProfilerHostGetConfigImage, 40) if (PARAMETER(u64, 24) != 100) return INVALID_VALUE; END
COUNTERS(cuptiRangeProfilerEnable, 32) if (getenv("FAKE_COUNTERS_DENIED")) return CUPTI_DENIED; PARAMETER(u64, 24) = 8; END
COUNTERS(cuptiRangeProfilerDisable, 24) END
COUNTERS(cuptiRangeProfilerGetCounterDataSize, 64) PARAMETER(u64, 56) = 256; END
COUNTERS(cuptiRangeProfilerCounterDataImageInitialize, 40) memset(PARAMETER(void *, 32), 0, 256); END
COUNTERS(cuptiRangeProfilerSetConfig, 90)
  // A range for each kernel, which CUPTI replays; one level of ranges.
  if (PARAMETER(int, 56) != 1 || PARAMETER(int, 60) != 2 || PARAMETER(short, 72) != 1 || PARAMETER(short, 74) != 1 || PARAMETER(short, 88) != 1) return INVALID_VALUE;
  image = PARAMETER(unsigned char *, 48);
END
COUNTERS(cuptiRangeProfilerStart, 24) counting = 1, ranges = 0; END
COUNTERS(cuptiRangeProfilerStop, 41) counting = 0; END
COUNTERS(cuptiRangeProfilerDecodeData, 32) *(u64 *)image = ranges, PARAMETER(u64, 24) = 0; END
COUNTERS(cuptiRangeProfilerGetCounterDataInfo, 40) PARAMETER(u64, 32) = *PARAMETER(u64 *, 16); END
COUNTERS(cuptiProfilerHostEvaluateToGpuValues, 72)
  const char **names = PARAMETER(const char **, 48);
  for (u64 i = 0; i < PARAMETER(u64, 56); i++)
    PARAMETER(double *, 64)[i] = strstr(names[i], "warps") ? 25 + PARAMETER(u64, 40) : strstr(names[i], "tensor") ? 50 : strstr(names[i], "dram") ? 10 : 1000;
END
