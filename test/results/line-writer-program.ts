// Writes numbered lines to standard output through a LineWriter: `bun line-writer-program.ts COUNT LENGTH`.
// Says on standard error how it ended, and the most lines that ever waited.
import { LineWriter } from '../../src/results/line-writer.ts'

const [count = 0, length = 0] = process.argv.slice(2).map(Number)
let closed = false
let fault = ''
const writer = new LineWriter(1, {
  onClosed: () => {
    closed = true
  },
  onError: error => {
    fault = error.message
  },
})
let waits = 0
let written = 0
for (; written < count && !writer.broken; written++) {
  if (!writer.room) {
    waits++
    await writer.drained()
  }
  writer.write(`${written} ${'é'.repeat(length)}`)
}
await writer.flushed()
process.stderr.write(JSON.stringify({ closed, fault, waits, written, broken: writer.broken }))
