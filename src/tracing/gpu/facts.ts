/** A launch of a network: what one operation, or a few done together, ask of a GPU. */
export interface LaunchFacts {
  /** Of its convolution. */
  name: string
  /** By what it is computed: `wgmma 128 x 96 tile`. */
  how: string
  /** Which of the network's five layers it belongs to. */
  layer: number
  /** What it cannot do with less: arithmetic, and bytes that are read or written once each. */
  flops: number
  bytes: number
}

/** What a captured graph consists of; plain data. */
export interface GraphFacts {
  /** The number that records of its kernels have. */
  graph: number
  step: number
  clips: number
  launches: (LaunchFacts & { nodes: number })[]
  /** What follows the graph, by itself. */
  last: LaunchFacts
}

/** A thread of a run that puts work on GPUs. */
export interface ThreadFacts {
  name: string
  step: number
}

// An external id: the thread, and the first request of the call, each plus one. Both fit into a float64 together.
const REQUESTS = 2 ** 25

/** The id that records of a step's call have. */
export const callId = (thread: number, request: number): number => (thread + 1) * REQUESTS + request + 1

/** Which thread's call has this id, and its first request. */
export const callOf = (id: number): { thread: number; request: number } => ({
  thread: Math.floor(id / REQUESTS) - 1,
  request: (id % REQUESTS) - 1,
})
