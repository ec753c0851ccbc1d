import type { CUgraphExec } from '../../../ffi/cuda/types.ts'
import { graphId, popExternalId, pushExternalId } from '../../../ffi/cupti/activity.ts'
import { callId, type GraphFacts } from './facts.ts'

/** Has what one thread's calls put on a GPU recorded with whose they are. */
export class GpuCalls {
  constructor(readonly thread: number) {}

  /** The thread's calls are now made for this request, or a batch that it is the first of. */
  begin(request: number): void {
    pushExternalId(callId(this.thread, request))
  }

  end(): void {
    popExternalId()
  }

  /** Completes what is known of a graph with the number by which records know it. */
  describe(graph: CUgraphExec, facts: Omit<GraphFacts, 'graph'>): GraphFacts {
    return { graph: graphId(graph), ...facts }
  }
}
