/** What pacing needs of the outside: a clock, a way to wait, and somebody to take the requests. */
export interface PacerHost {
  /** Nanoseconds on the run's clock. */
  now(): number
  /** Waits until that time, at most; false if the run ends meanwhile. May return early. */
  wait(untilNs: number): boolean
  /**
   * Takes a request, with its intended and its actual time; false if there is no use in going on. Must see
   * the end of a run too, as nobody waits while requests are late.
   */
  offer(request: number, intendedNs: number, actualNs: number): boolean
}

/**
 * Offers every request at its time, or as soon after it as can be: never early, never twice, in order. One
 * that is late does not move those behind it, so the client catches up by itself.
 * @param schedule ns from the start, ascending
 * @returns how many requests were taken
 */
export function pace(schedule: Float64Array, startNs: number, host: PacerHost): number {
  for (let request = 0; request < schedule.length; request++) {
    const intended = startNs + schedule[request]!
    let time = host.now()
    while (time < intended) {
      if (!host.wait(intended)) return request
      time = host.now()
    }
    if (!host.offer(request, intended, time)) return request
  }
  return schedule.length
}
