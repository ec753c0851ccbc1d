import { check } from './check.ts'
import { CU_STREAM_CAPTURE_MODE_THREAD_LOCAL, CUDA_SUCCESS } from './constants.ts'
import { cuda, out, out2, outNumber, outNumber2 } from './library.ts'
import type { CUgraph, CUgraphExec, CUstream } from './types.ts'

/** A recorded piece of work, ready to be launched again and again. */
export interface CapturedGraph {
  readonly exec: CUgraphExec
  /** Kernels, copies and fills in it. */
  readonly nodes: number
}

/** What `work` asks of the stream, as a graph; nothing is done. @throws {NativeError} */
function record(stream: CUstream, work: () => void): CUgraph {
  const calls = cuda()
  const begun = calls.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
  check('cuStreamBeginCapture_v2', begun)
  try {
    work()
  } catch (error) {
    // Leaves the stream usable; the error of the work says more than that of its end.
    if (calls.cuStreamEndCapture(stream, out) === CUDA_SUCCESS) calls.cuGraphDestroy(outNumber() as CUgraph)
    throw error
  }
  check('cuStreamEndCapture', calls.cuStreamEndCapture(stream, out))
  return outNumber() as CUgraph
}

function nodesOf(graph: CUgraph): number {
  check('cuGraphGetNodes', cuda().cuGraphGetNodes(graph, null, out2))
  return outNumber2()
}

/**
 * Records what `work` asks of the stream, without doing it, as a graph whose addresses stay as they are. Other threads
 * may go on with their own calls meanwhile.
 * @throws {NativeError} if something in it cannot be part of a graph
 */
export function captureGraph(stream: CUstream, work: () => void): CapturedGraph {
  const calls = cuda()
  const graph = record(stream, work)
  try {
    const nodes = nodesOf(graph)
    check('cuGraphInstantiateWithFlags', calls.cuGraphInstantiateWithFlags(out, graph, 0))
    const exec = outNumber() as CUgraphExec
    check('cuGraphUpload', calls.cuGraphUpload(exec, stream))
    return { exec, nodes }
  } finally {
    check('cuGraphDestroy', calls.cuGraphDestroy(graph))
  }
}

/** How many nodes a graph of what `work` asks of the stream has; nothing is done. @throws {NativeError} */
export function countNodes(stream: CUstream, work: () => void): number {
  const graph = record(stream, work)
  try {
    return nodesOf(graph)
  } finally {
    check('cuGraphDestroy', cuda().cuGraphDestroy(graph))
  }
}

/** @throws {NativeError} */
export function launchGraph({ exec }: CapturedGraph, stream: CUstream): void {
  check('cuGraphLaunch', cuda().cuGraphLaunch(exec, stream))
}

export function destroyGraph({ exec }: CapturedGraph): void {
  check('cuGraphExecDestroy', cuda().cuGraphExecDestroy(exec))
}
