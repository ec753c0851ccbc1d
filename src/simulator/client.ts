import { type Body, Waiters } from './clock.ts'
import type { World } from './world.ts'

/** How many more requests may be in flight. */
export class Permits {
  readonly #released: Waiters

  constructor(
    readonly world: Pick<World, 'clock'>,
    public free: number,
    handOverNs?: () => number,
  ) {
    this.#released = new Waiters(world.clock, handOverNs)
  }

  release(): void {
    this.free++
    this.#released.wakeOne()
  }

  *acquire(): Body {
    while (this.free === 0) {
      this.#released.join()
      yield
    }
    this.free--
  }
}

/** Puts a request on the filename queue, as `src/client/client.ts` does. @returns false if there is no use in going on */
function* offer(
  { clock, queues, overload, outcomes, full }: World,
  request: number,
  intended: number,
): Body<boolean> {
  const { onFull, timeoutNs } = overload
  const lose = (code: 'timeout' | 'queue_full'): true => {
    outcomes.lose(request, 0, code)
    return true
  }
  if (clock.now - intended > timeoutNs) return lose('timeout')
  const item = { shares: [{ request, part: 0, parts: 1, clips: 0 }], tensors: [], values: [] }
  while (!queues[0]!.put(item)) {
    if (onFull === 'drop') return lose('queue_full')
    if (onFull === 'abort') {
      full(0, request)
      return false
    }
    if (!(yield* queues[0]!.awaitRoom(intended + timeoutNs))) return lose('timeout')
  }
  return true
}

/** The client: offers each request at its time or, where the load is a number of requests in flight, when it may. */
export function* client(world: World, permits?: Permits): Body {
  const { clock, intended, queues } = world
  for (let request = 0; request < intended.length; request++) {
    if (permits) {
      yield* permits.acquire()
      intended[request] = clock.now
    } else yield* clock.sleepUntil(intended[request]!)
    if (!(yield* offer(world, request, intended[request]!))) return
  }
  queues[0]!.close()
}
