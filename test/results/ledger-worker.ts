import { workerData } from 'node:worker_threads'
import { EVENTS, Ledger, type LedgerEvent, type LedgerHandle } from '../../src/results/ledger.ts'

const { handle, step } = workerData as { handle: LedgerHandle; step: number }
const ledger = new Ledger(handle)
for (let request = 0; request < handle.size.requests; request++) {
  for (const event of Object.keys(EVENTS) as LedgerEvent[])
    ledger.stamp(request, 0, step, event, 1 + request * 100 + step * 10 + EVENTS[event])
  ledger.place(request, 0, step, step, step, 1)
  // All three note the same, so that names of decoders are added at once.
  ledger.note(request, { clips: 1, framesNeeded: 8, framesDecoded: 8, decoder: `decoder ${request % 5}` })
  if (step === 2) ledger.finish(request, [{ index: request, score: 0.5 }])
}
