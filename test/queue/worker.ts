import { parentPort } from 'node:worker_threads'
import { monotonicNs } from '../../ffi/libc.ts'
import { Barrier } from '../../src/queue/barrier.ts'
import { Board, type End, MOST_PIECES } from '../../src/queue/board.ts'
import { Control } from '../../src/queue/control.ts'
import { Ring } from '../../src/queue/ring.ts'
import { Semaphore } from '../../src/queue/semaphore.ts'
import { SlotPool } from '../../src/queue/slots.ts'
import { CLOSED, ELSEWHERE, STOPPED, TIMED_OUT } from '../../src/queue/status.ts'
import { type Job, type JobResult, SLOT_WITNESS_WORDS, WITNESS } from './jobs.ts'
import { isMessage, jitter, writeMessage, yieldThread } from './messages.ts'

type JobOf<K extends Job['kind']> = Extract<Job, { kind: K }>

const holders = (slot: number): number => WITNESS.slots + slot * SLOT_WITNESS_WORDS
const stamp = (slot: number): number => holders(slot) + 1

function produce(job: JobOf<'produce'>, result: JobResult): void {
  const ring = new Ring(job.ring)
  const words = new Int32Array(ring.wordsPerMessage)
  const witness = new Int32Array(job.witness)
  const pause = jitter(job.seed)
  for (let number = 0; number < job.count; number++) {
    const length = writeMessage(words, job.producer, number)
    while (!ring.put(words, length)) {
      if (job.waits) ring.awaitRoom()
      else yieldThread()
    }
    Atomics.add(witness, WITNESS.sent, 1)
    if (ring.depth > ring.capacity) result.violations.push(`depth ${ring.depth} of ${ring.capacity}`)
    pause()
  }
  ring.close()
}

function fill(job: JobOf<'fill'>, result: JobResult): void {
  const ring = new Ring(job.ring)
  const words = new Int32Array(ring.wordsPerMessage)
  const pause = jitter(job.seed)
  result.status = 0
  while (ring.put(words, writeMessage(words, 1, result.status))) {
    result.status++
    pause()
  }
  ring.close()
}

function consume(job: JobOf<'consume'>, result: JobResult): void {
  const ring = new Ring(job.ring)
  const into = new Int32Array(ring.wordsPerMessage)
  const witness = new Int32Array(job.witness)
  const pause = jitter(job.seed)
  const taken: number[] = []
  for (let turn = 0; ; turn++) {
    const sent = Atomics.load(witness, WITNESS.sent)
    const atLeast = sent - Atomics.load(witness, WITNESS.takesBegun)
    if (atLeast > ring.capacity) result.violations.push(`${atLeast} messages in a ring for ${ring.capacity}`)
    Atomics.add(witness, WITNESS.takesBegun, 1)
    const length = ring.take(into, turn % 5 === 0 ? monotonicNs() + 30_000 : undefined)
    if (length < 0) {
      Atomics.sub(witness, WITNESS.takesBegun, 1)
      result.status = length
      if (length === TIMED_OUT) continue
      break
    }
    if (!isMessage(into, length)) result.violations.push(`torn message ${into.join(' ')}`)
    taken.push(into[0]!, into[1]!)
    pause()
  }
  result.messages = Int32Array.from(taken)
}

function team(job: JobOf<'team'>, result: JobResult): void {
  const { worker } = job
  const ring = new Ring(job.ring)
  const board = new Board(job.board)
  const done = new Int32Array(job.done)
  const words = new Int32Array(Math.max(ring.wordsPerMessage, board.messageWords))
  const pause = jitter(job.seed)
  const helps = (owner: number) => owner !== worker
  const end: End = worker % 2 === 0 ? 'first' : 'last'
  const taken: number[] = []
  /** Of an owner: each piece is done once. */
  const doPiece = (owner: number, piece: number) => {
    if (Atomics.or(done, owner, 1 << piece) & (1 << piece))
      result.violations.push(`piece ${piece} done twice`)
  }
  for (let number = 0; ; number++) {
    const length = ring.take(words, undefined, () => board.open(helps))
    if (length === ELSEWHERE) {
      const claim = board.claim(helps, end)
      if (!claim) continue
      const read = board.read(claim.owner, words)
      if (!isMessage(words, read) || words[0] !== claim.owner) result.violations.push('a torn offer')
      doPiece(claim.owner, claim.piece)
      pause()
      if ((words[1]! + claim.piece) % 5 === 0) board.fail(claim)
      else board.finish(claim, 1 << worker, [1, claim.piece])
      continue
    }
    result.status = length
    if (length < 0) break
    taken.push(words[0]!, words[1]!)
    const pieces = 2 + ((job.seed + number) % (MOST_PIECES - 1))
    Atomics.store(done, worker, 0)
    board.offer(worker, pieces, end, words, writeMessage(words, worker, number))
    ring.callTakers()
    let mine = 0
    let next: number | undefined = end === 'first' ? 0 : pieces - 1
    for (; next !== undefined; next = board.take(worker, end)) {
      mine++
      doPiece(worker, next)
      pause()
    }
    const helped = board.await(worker, pieces - mine)
    if (!helped) break
    if (Atomics.load(done, worker) !== 2 ** pieces - 1) result.violations.push('a piece was not done')
    const failed = helped.failed.length
    if (mine + failed + helped.sums[0]! !== pieces) result.violations.push(`${failed} failed, ${mine} own`)
    if (helped.failed.some(piece => (number + piece) % 5 !== 0)) result.violations.push('another one failed')
    if (helped.marks & (1 << worker)) result.violations.push('it helped itself')
  }
  result.messages = Int32Array.from(taken)
}

function acquire(job: JobOf<'acquire'>, result: JobResult): void {
  const pool = new SlotPool(job.pool)
  const ring = new Ring(job.ring)
  const witness = new Int32Array(job.witness)
  const pause = jitter(job.seed)
  for (let number = 0; number < job.count; number++) {
    const slot = pool.acquire()
    if (slot < 0) {
      result.status = slot
      break
    }
    const mine = (job.sender << 24) | number
    if (Atomics.add(witness, holders(slot), 1) !== 0) result.violations.push(`slot ${slot} had a holder`)
    Atomics.store(witness, stamp(slot), mine)
    pause()
    const copies = 1 + ((job.seed + number) % 3)
    for (let copy = 1; copy < copies; copy++) {
      pool.retain(slot)
      Atomics.add(witness, holders(slot), 1)
    }
    for (let copy = 0; copy < copies; copy++) {
      if (!ring.put(Int32Array.of(slot, mine), 2)) result.violations.push('the ring of the test was full')
    }
  }
  ring.close()
}

function release(job: JobOf<'release'>, result: JobResult): void {
  const pool = new SlotPool(job.pool)
  const ring = new Ring(job.ring)
  const witness = new Int32Array(job.witness)
  const pause = jitter(job.seed)
  const into = new Int32Array(2)
  for (;;) {
    result.status = ring.take(into)
    if (result.status < 0) return
    const slot = into[0]!
    pause()
    if (Atomics.load(witness, stamp(slot)) !== into[1])
      result.violations.push(`slot ${slot} has another owner`)
    Atomics.sub(witness, holders(slot), 1)
    pool.release(slot)
  }
}

function relay(job: JobOf<'relay'>, result: JobResult): void {
  const [from, to] = [new Ring(job.from), new Ring(job.to)]
  const words = new Int32Array(from.wordsPerMessage)
  for (let round = 0; round < job.rounds; round++) {
    result.status = from.take(words)
    if (result.status < 0) return
    if (!to.put(words, result.status)) result.violations.push('the next ring was full')
  }
}

function arrive(job: JobOf<'arrive'>, result: JobResult): void {
  const barrier = new Barrier(job.barrier)
  const witness = new Int32Array(job.witness)
  const pause = jitter(job.seed)
  for (let round = 0; round < job.rounds; round++) {
    pause()
    Atomics.add(witness, WITNESS.counter, 1)
    result.status = barrier.arriveAndWait() ? 0 : STOPPED
    if (result.status !== 0) return
    const counted = Atomics.load(witness, WITNESS.counter)
    if (counted < (round + 1) * barrier.parties)
      result.violations.push(`${counted} arrivals in round ${round}`)
  }
}

function share(job: JobOf<'share'>, result: JobResult): void {
  const semaphore = new Semaphore(job.semaphore)
  const witness = new Int32Array(job.witness)
  const pause = jitter(job.seed)
  for (let round = 0; round < job.rounds; round++) {
    result.status = semaphore.acquire()
    if (result.status !== 0) return
    const inside = Atomics.add(witness, WITNESS.counter, 1) + 1
    if (inside > job.permits) result.violations.push(`${inside} with ${job.permits} permits`)
    pause()
    Atomics.sub(witness, WITNESS.counter, 1)
    semaphore.release()
  }
}

function run(job: Job): JobResult {
  const result: JobResult = { status: 0, violations: [], messages: new Int32Array(0) }
  if (job.kind === 'produce') produce(job, result)
  else if (job.kind === 'fill') fill(job, result)
  else if (job.kind === 'consume') consume(job, result)
  else if (job.kind === 'team') team(job, result)
  else if (job.kind === 'acquire') acquire(job, result)
  else if (job.kind === 'release') release(job, result)
  else if (job.kind === 'relay') relay(job, result)
  else if (job.kind === 'arrive') arrive(job, result)
  else if (job.kind === 'take') {
    const ring = new Ring(job.ring)
    result.status = ring.take(new Int32Array(ring.wordsPerMessage))
  } else if (job.kind === 'slot') result.status = new SlotPool(job.pool).acquire()
  else if (job.kind === 'room') result.status = new Ring(job.ring).awaitRoom(undefined, job.beforeDrain)
  else if (job.kind === 'permit') result.status = new Semaphore(job.semaphore).acquire()
  else if (job.kind === 'share') share(job, result)
  else if (job.kind === 'sleep')
    result.status = new Control(job.control).sleepUntil(Number.POSITIVE_INFINITY) ? CLOSED : STOPPED
  else if (job.kind === 'stop') result.status = new Control(job.control).stop(job.reason) ? 1 : 0
  else {
    new SlotPool(job.pool).acquire()
    process.exit(7)
  }
  return result
}

parentPort?.on('message', (job: Job) => parentPort?.postMessage(run(job)))
