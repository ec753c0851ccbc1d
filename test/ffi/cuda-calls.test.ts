import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CUDA } from '../../ffi/cuda/symbols.ts'

// Compiling takes its time on a busy machine.
setDefaultTimeout(60_000)

const haveGcc = Bun.which('gcc') !== null
if (!haveGcc) console.warn('skipped: calls of the driver: no gcc to make one for tests')

const repository = join(import.meta.dir, '../..')
const folder = mkdtempSync(join(tmpdir(), 'rnb-cuda-'))
const driver = join(folder, 'libcuda.so.1')
afterAll(() => rmSync(folder, { recursive: true }))

beforeAll(async () => {
  if (!haveGcc) return
  const source = join(import.meta.dir, 'cuda-fake.c')
  const written = await Bun.file(source).text()
  const plain = Object.keys(CUDA).filter(call => !written.includes(`int ${call}(`))
  const calls = plain.map(call => `X(${call})`).join(' ')
  const command = ['gcc', '-w', '-shared', '-fPIC', `-DCALLS=${calls}`, source, '-o', driver]
  const { exitCode, stderr } = Bun.spawnSync(command)
  if (exitCode !== 0) throw new Error(stderr.toString())
})

/** What a program says, and which calls it makes of the driver, in a process of its own. */
function run(program: string, fail: Record<string, string> = {}): { calls: string[]; error: string } {
  const imports = ['context', 'memory', 'stream', 'module', 'graph', 'owner']
    .map(name => `import * as ${name} from ${JSON.stringify(join(repository, `ffi/cuda/${name}.ts`))}`)
    .join('\n')
  const file = join(folder, 'program.ts')
  writeFileSync(file, `${imports}\ntry { ${program} } catch (e) { console.error(e.message) }\n`)
  const env = { ...process.env, RNB_CUDA_DRIVER: driver, ...fail }
  const { stdout, stderr } = Bun.spawnSync([process.execPath, file], { env })
  return { calls: stdout.toString().trim().split('\n'), error: stderr.toString().trim() }
}

describe.skipIf(!haveGcc)('calls of the driver', () => {
  test('what was made is freed in the reverse order, the context last', () => {
    const { calls, error } = run(`
      const all = new owner.Owner()
      all.own(context.retainContext(0), context.releaseContext)
      all.own(stream.createStream(), stream.destroyStream)
      all.own(stream.createEvent('order'), stream.destroyEvent)
      all.own(memory.allocate(1024, { what: 'x', lower: 'y' }), memory.free)
      all.close()
    `)
    expect(error).toBe('')
    expect(calls).toEqual([
      'cuInit',
      'cuDeviceGet',
      'cuDevicePrimaryCtxRetain',
      'cuCtxSetCurrent',
      'cuStreamCreateWithPriority',
      'cuEventCreate',
      'cuMemAlloc_v2',
      'cuMemFree_v2',
      'cuEventDestroy_v2',
      'cuStreamDestroy_v2',
      'cuCtxGetCurrent',
      'cuDevicePrimaryCtxRelease_v2',
    ])
  })

  test('memory that is short is an error that says for what, how much, and what to lower', () => {
    const fail = { FAKE_FAIL: 'cuMemAlloc_v2', FAKE_STATUS: '2' }
    const { error } = run(
      `memory.allocate(64 * 2 ** 20, { what: 'the clips', lower: 'the batch (-b)' })`,
      fail,
    )
    expect(error).toBe(
      'libcuda: cuMemAlloc_v2 returned CUDA_ERROR_OUT_OF_MEMORY (2): out of memory; the clips takes 64.0 MiB, and ' +
        '3.0 MiB of 80.0 MiB is free; lower the batch (-b)',
    )
  })

  test('a status that the driver cannot name is an error with its number', () => {
    const { error } = run('stream.createStream()', {
      FAKE_FAIL: 'cuStreamCreateWithPriority',
      FAKE_STATUS: '4321',
    })
    expect(error).toBe('libcuda: cuStreamCreateWithPriority returned CUresult 4321 (4321)')
  })

  test('PTX that does not compile is an error in the compiler’s words', () => {
    const fail = { FAKE_FAIL: 'cuModuleLoadDataEx', FAKE_STATUS: '218' }
    expect(run(`module.loadModule('nonsense')`, fail).error).toBe(
      'libcuda: cuModuleLoadDataEx returned CUDA_ERROR_INVALID_PTX (218): a PTX JIT compilation failed; line 3; nonsense: unknown',
    )
  })

  test('work that fails while it is captured ends the capture, and its own error is the one that is told', () => {
    const { calls, error } = run(`
      const s = stream.createStream()
      graph.captureGraph(s, () => { throw new Error('the work') })
    `)
    expect(error).toBe('the work')
    expect(calls.slice(-3)).toEqual(['cuStreamBeginCapture_v2', 'cuStreamEndCapture', 'cuGraphDestroy'])
  })
})
