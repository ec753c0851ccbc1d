import { describe, expect, test } from 'bun:test'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { gpuInterruptsOf, servingCpus } from '../../src/pipeline/interrupts.ts'

const module = fileURLToPath(new URL('../../src/pipeline/interrupts.ts', import.meta.url))

/** As /proc/interrupts reads on a host with two GPUs whose CPU 1 is off: of the first one's lines, one is busy. */
const lines = (first: number, second: number, other = 0) => `           CPU0       CPU2       CPU3
  0:         12          0          0   IO-APIC   2-edge      timer
 42:          3          0      ${first} PCI-MSIX-0000:00:06.0   0-edge      nvidia
 44:         13          0          0 PCI-MSIX-0000:00:06.0   2-edge      nvidia
 50:          0      ${second}          0 PCI-MSIX-0000:00:07.0   0-edge      nvidia
 60:    ${other}          0          0 PCI-MSIX-0000:00:08.0   0-edge      nvme0q0, not-nvidia
NMI:          0          0          0   Non-maskable interrupts
LOC:     ${other}     ${other}     ${other}   Local timer interrupts
ERR:          0
`

describe('interrupts of GPUs', () => {
  test('are counted by line and by the CPUs that the header names, of the driver alone', () => {
    expect(gpuInterruptsOf(lines(7, 8, 9))).toEqual(
      new Map([
        [
          '42:',
          new Map([
            [0, 3],
            [2, 0],
            [3, 7],
          ]),
        ],
        [
          '44:',
          new Map([
            [0, 13],
            [2, 0],
            [3, 0],
          ]),
        ],
        [
          '50:',
          new Map([
            [0, 0],
            [2, 8],
            [3, 0],
          ]),
        ],
      ]),
    )
  })

  test('are served by the CPU that a line has told most often since, if it did so often', () => {
    const before = gpuInterruptsOf(lines(1000, 5000))
    expect(servingCpus(before, gpuInterruptsOf(lines(1000, 5000, 100_000)))).toEqual([])
    expect(servingCpus(before, gpuInterruptsOf(lines(1500, 5003)))).toEqual([3])
    expect(servingCpus(before, gpuInterruptsOf(lines(1500, 6000)))).toEqual([2, 3])
    expect(servingCpus(new Map(), before)).toEqual([2, 3])
  })

  test('are none where nobody may look, or there is no such driver', () => {
    expect(gpuInterruptsOf('')).toEqual(new Map())
    expect(servingCpus(new Map(), new Map())).toEqual([])
  })
})

/** What a process prints that has a thread beside its first, and says which CPUs each of its threads may run on. */
function inProcess(statements: string, env: Record<string, string> = {}): string[] {
  const program = `
    import { Worker } from 'node:worker_threads'
    import { readdirSync, readFileSync } from 'node:fs'
    import { allowCpus, allowedCpus } from ${JSON.stringify(fileURLToPath(new URL('../../ffi/affinity.ts', import.meta.url)))}
    import { InterruptWatch, keepOff } from ${JSON.stringify(module)}
    const all = () => [...new Set(readdirSync('/proc/self/task').map(thread =>
      readFileSync('/proc/self/task/' + thread + '/status', 'utf8').match(/Cpus_allowed_list:\\s*(\\S+)/)[1]))].join(' ')
    const worker = new Worker('setInterval(() => {}, 1000)', { eval: true })
    await new Promise(resolve => worker.on('online', resolve))
    const cpus = allowedCpus()
    console.log(cpus.length)
    ${statements}
    process.exit(0)`
  const { stdout, stderr, exitCode } = Bun.spawnSync([process.execPath, '-e', program], {
    env: { ...process.env, ...env },
  })
  if (exitCode !== 0) throw new Error(stderr.toString())
  return stdout.toString().trim().split('\n')
}

describe('threads that keep off CPUs', () => {
  test.skipIf(availableParallelism() < 2)('are all of the process', () => {
    const [, first, did, before, after] = inProcess(`
      console.log(cpus[0])
      const before = all()
      console.log(keepOff([cpus[0]], 0.5))
      console.log(before)
      console.log(all())`)
    expect(did).toBe('true')
    expect(before!.split(/[,-]/)).toContain(first!)
    expect(after!.split(/[,-]/)).not.toContain(first!)
  })

  const watching = `
    const counts = [10, 500]
    const watch = new InterruptWatch(() => new Map([['42:', new Map([[cpus[0], counts.shift()]])]]), 0.5)
    console.log(cpus[0], watch.keepOff())
    console.log(all())`
  test.skipIf(availableParallelism() < 2)('keep off what has served since they began, and say so', () => {
    const [, said, after] = inProcess(watching)
    const [, first, sentence] = said!.match(/^(\d+) (.*)$/)!
    expect(sentence).toBe(`threads keep off CPU ${first}, which serves what GPUs interrupt the host for`)
    expect(after!.split(/[,-]/)).not.toContain(first!)
  })

  test('stay where they are if people want to compare', () => {
    const [, said, after] = inProcess(watching, { RNB_AVOID_INTERRUPTS: '0' })
    const [, first, sentence] = said!.match(/^(\d+) (.*)$/)!
    expect(sentence).toBe('undefined')
    expect(after!.split(/[,-]/)).toContain(first!)
  })

  test('leave none where too few would be left', () => {
    const [count, did, before, after] = inProcess(`
      const before = all()
      console.log(keepOff(cpus.slice(Math.floor(cpus.length / 2))))
      console.log(before)
      console.log(all())`)
    expect([did, after]).toEqual(['false', before])
    expect(Number(count)).toBeGreaterThan(0)
  })

  test('stay on the one CPU that they have, and on those that nobody interrupts', () => {
    const [, ...said] = inProcess(`
      console.log(allowCpus([cpus[0]]), String(allowedCpus()) === String([cpus[0]]))
      console.log(keepOff([cpus[0]]), keepOff([]))`)
    expect(said).toEqual(['true true', 'false false'])
  })

  test('a thread that is no more has no CPUs', () => {
    const [, said] = inProcess('console.log(allowedCpus(2 ** 30), allowCpus([0], 2 ** 30))')
    expect(said).toBe('undefined false')
  })
})
