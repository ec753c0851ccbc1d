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

/**
 * Records what `work` asks of the stream, without doing it, as a graph whose addresses stay as they are. Other threads
 * may go on with their own calls meanwhile.
 * @throws {NativeError} if something in it cannot be part of a graph
 */
export function captureGraph(stream: CUstream, work: () => void): CapturedGraph {
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
  const graph = outNumber() as CUgraph
  try {
    check('cuGraphGetNodes', calls.cuGraphGetNodes(graph, null, out2))
    const nodes = outNumber2()
    check('cuGraphInstantiateWithFlags', calls.cuGraphInstantiateWithFlags(out, graph, 0))
    const exec = outNumber() as CUgraphExec
    check('cuGraphUpload', calls.cuGraphUpload(exec, stream))
    return { exec, nodes }
  } finally {
    check('cuGraphDestroy', calls.cuGraphDestroy(graph))
  }
}

/** @throws {NativeError} */
export function launchGraph({ exec }: CapturedGraph, stream: CUstream): void {
  check('cuGraphLaunch', cuda().cuGraphLaunch(exec, stream))
}

export function destroyGraph({ exec }: CapturedGraph): void {
  check('cuGraphExecDestroy', cuda().cuGraphExecDestroy(exec))
}
