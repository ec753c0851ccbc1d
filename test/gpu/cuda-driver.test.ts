import { ptr } from 'bun:ffi'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  enablePeerAccess,
  makeCurrent,
  releaseContext,
  retainContext,
  synchronize,
} from '../../ffi/cuda/context.ts'
import { canAccessPeer, describeDevice, deviceCount } from '../../ffi/cuda/device.ts'
import { captureGraph, destroyGraph, launchGraph } from '../../ffi/cuda/graph.ts'
import {
  allocate,
  allocatePinned,
  copy,
  copyPeer,
  download,
  fillWords,
  free,
  freePinned,
  memoryInfo,
  registerPinned,
  unregisterPinned,
  upload,
} from '../../ffi/cuda/memory.ts'
import { Kernel, loadModule, unloadModule } from '../../ffi/cuda/module.ts'
import {
  createEvent,
  createStream,
  destroyEvent,
  destroyStream,
  elapsedMs,
  eventIsDone,
  recordEvent,
  streamIsIdle,
  synchronizeEvent,
  synchronizeStream,
  waitForEvent,
} from '../../ffi/cuda/stream.ts'
import { offset } from '../../ffi/cuda/types.ts'
import { NativeError } from '../../ffi/error.ts'
import { gpuUse, nvmlStatus } from '../../ffi/nvml.ts'
import { Rng } from '../../src/rng.ts'
import { GPUS, Gpu } from './cuda-gpu.ts'

/** to[i] = from[i] scale + pair[1], for i < count, where pair is a struct of two words by value. */
const SCALE = `
.version 7.0
.target sm_80
.address_size 64
.visible .entry scale(.param .u64 from, .param .u64 to, .param .u32 count, .param .f32 factor, .param .align 4 .b8 pair[8])
{
  .reg .pred %p;
  .reg .b32 %i, %n, %b;
  .reg .b64 %a, %c, %d;
  .reg .f32 %x, %f, %s;
  mov.u32 %i, %ctaid.x;
  mov.u32 %n, %tid.x;
  mad.lo.u32 %i, %i, 64, %n;
  ld.param.u32 %n, [count];
  setp.ge.u32 %p, %i, %n;
  @%p ret;
  ld.param.u64 %a, [from];
  ld.param.u64 %c, [to];
  ld.param.f32 %f, [factor];
  ld.param.f32 %s, [pair+4];
  mul.wide.u32 %d, %i, 4;
  add.u64 %a, %a, %d;
  add.u64 %c, %c, %d;
  ld.global.f32 %x, [%a];
  fma.rn.f32 %x, %x, %f, %s;
  st.global.f32 [%c], %x;
  ret;
}
`
const PARAMETERS = ['pointer', 'pointer', 'u32', 'f32', { bytes: 8 }] as const

describe.skipIf(GPUS === 0)('libcuda on a GPU', () => {
  let gpu: Gpu
  beforeAll(() => {
    gpu = new Gpu()
  })
  afterAll(() => gpu?.close())

  const random = (length: number, part: string) => {
    const rng = Rng.of(7, part)
    return Float32Array.from({ length }, () => rng.normal())
  }

  test('describes each device as nvidia-smi does', () => {
    const listed = Bun.which('nvidia-smi') ? Bun.spawnSync(['nvidia-smi', '-L']).stdout.toString() : ''
    for (let index = 0; index < deviceCount(); index++) {
      const device = describeDevice(index)
      expect(device.memoryBytes).toBeGreaterThan(2 ** 30)
      expect(Number(device.capability)).toBeGreaterThanOrEqual(3)
      if (listed) expect(listed).toContain(`${device.name} (UUID: ${device.uuid})`)
    }
  })

  test.skipIf(!nvmlStatus().ok)('NVML knows the device by its UUID, and its memory', () => {
    const device = describeDevice(0)
    const use = gpuUse(device.uuid)
    expect(use.memory.used).toBeGreaterThan(0)
    expect(use.memory.total).toBeGreaterThanOrEqual(device.memoryBytes)
    expect(use.memory.free + use.memory.used).toBeLessThanOrEqual(use.memory.total)
    for (const { pid } of use.processes) expect(pid).toBeGreaterThan(0)
  })

  test('copies there, within, and back, from page-locked and shared memory', () => {
    const values = random(10_001, 'copies')
    const bytes = values.byteLength
    const [a, b] = [gpu.poisoned(bytes), gpu.poisoned(bytes)]
    const shared = new Float32Array(new SharedArrayBuffer(bytes))
    shared.set(values)
    const pinned = registerPinned(ptr(shared), bytes)
    upload(a, pinned, bytes, gpu.stream)
    copy(b, offset(a, 4), bytes - 4, gpu.stream)
    expect(gpu.get(b, new Float32Array(10_000))).toEqual(values.subarray(1))
    const back = allocatePinned(bytes)
    download(back, a, bytes, gpu.stream)
    upload(b, back, bytes, gpu.stream)
    expect(gpu.get(b, new Float32Array(10_001))).toEqual(values)
    freePinned(back)
    unregisterPinned(pinned)
  })

  test('fills words', () => {
    const at = gpu.poisoned(48)
    fillWords(offset(at, 16), 0x12345678, 4, gpu.stream)
    const [poison, word] = [0xffffffff, 0x12345678]
    const expected = [poison, word, poison].flatMap(value => [value, value, value, value])
    expect([...gpu.get(at, new Uint32Array(12))]).toEqual(expected)
  })

  test('launches a kernel with arguments of every kind, and only where it may write', () => {
    const module = loadModule(SCALE)
    const kernel = new Kernel(module, 'scale', PARAMETERS)
    const values = random(1000, 'kernel')
    const from = gpu.put(values)
    const to = gpu.poisoned(4 * 1024)
    const pair = new Uint8Array(Float32Array.of(99, 0.25).buffer)
    kernel.launch([16, 1, 1], [64, 1, 1], 0, gpu.stream, from, to, 1000, -3, pair)
    const found = gpu.get(to, new Float32Array(1024))
    expect(found.subarray(0, 1000)).toEqual(values.map(x => Math.fround(-3 * x + 0.25)))
    expect(found.subarray(1000).every(Number.isNaN)).toBe(true)
    expect(kernel.resources.registers).toBeGreaterThan(0)
    expect(kernel.resources.localBytes).toBe(0)
    unloadModule(module)
  })

  test('says what is wrong with PTX, and with a kernel that is not there', () => {
    const broken = SCALE.replace('fma.rn.f32', 'fma.of.nothing')
    expect(() => loadModule(broken)).toThrow(/CUDA_ERROR_INVALID_PTX.*(fma|line)/s)
    const module = loadModule(SCALE)
    expect(() => new Kernel(module, 'shrink', [])).toThrow(/cuModuleGetFunction.*CUDA_ERROR_NOT_FOUND/)
    unloadModule(module)
  })

  test('replays a graph with its addresses, on what is there then', () => {
    const module = loadModule(SCALE)
    const kernel = new Kernel(module, 'scale', PARAMETERS)
    const [a, b, c] = [gpu.put(Float32Array.of(1, 2)), gpu.poisoned(8), gpu.poisoned(8)]
    const none = new Uint8Array(new ArrayBuffer(8))
    const graph = captureGraph(gpu.stream, () => {
      kernel.launch([1, 1, 1], [64, 1, 1], 0, gpu.stream, a, b, 2, 10, none)
      copy(c, b, 8, gpu.stream)
    })
    expect(graph.nodes).toBe(2)
    expect(gpu.get(c, new Float32Array(2)).every(Number.isNaN)).toBe(true)
    launchGraph(graph, gpu.stream)
    expect([...gpu.get(c, new Float32Array(2))]).toEqual([10, 20])
    upload(a, Float32Array.of(3, 4), 8, gpu.stream)
    launchGraph(graph, gpu.stream)
    expect([...gpu.get(c, new Float32Array(2))]).toEqual([30, 40])
    destroyGraph(graph)
    unloadModule(module)
  })

  test('a graph that cannot be captured leaves the stream usable', () => {
    expect(() => captureGraph(gpu.stream, () => synchronizeStream(gpu.stream))).toThrow(
      /CUDA_ERROR_STREAM_CAPTURE/,
    )
    const at = gpu.poisoned(16)
    fillWords(at, 5, 4, gpu.stream)
    expect([...gpu.get(at, new Uint32Array(4))]).toEqual([5, 5, 5, 5])
  })

  test('orders streams by events, and measures with them', () => {
    const other = createStream()
    const [start, end] = [createEvent('time'), createEvent('time')]
    const [order, wait] = [createEvent('order'), createEvent('wait')]
    const bytes = 256 * 2 ** 20
    const [a, b] = [gpu.poisoned(bytes), gpu.poisoned(bytes)]
    recordEvent(start, gpu.stream)
    for (let i = 0; i < 8; i++) fillWords(a, i, bytes / 4, gpu.stream)
    recordEvent(end, gpu.stream)
    recordEvent(order, gpu.stream)
    waitForEvent(other, order)
    copy(b, a, bytes, other)
    recordEvent(wait, other)
    synchronizeEvent(wait)
    expect(eventIsDone(wait)).toBe(true)
    expect(eventIsDone(order)).toBe(true)
    expect(streamIsIdle(other)).toBe(true)
    expect(elapsedMs(start, end)).toBeGreaterThan(0.05)
    const last = new Uint32Array(1)
    download(last, offset(b, bytes - 4), 4, other)
    synchronizeStream(other)
    expect(last[0]).toBe(7)
    for (const event of [start, end, order, wait]) destroyEvent(event)
    destroyStream(other)
  })

  test('says what memory was for when there is not enough', () => {
    const purpose = { what: 'activations of 9 clips', lower: 'the batch size (-b)' }
    try {
      allocate(2 ** 50, purpose)
      throw new Error('there is a PiB')
    } catch (error) {
      expect(error).toBeInstanceOf(NativeError)
      const { message, statusName } = error as NativeError
      expect(statusName).toBe('CUDA_ERROR_OUT_OF_MEMORY')
      expect(message).toMatch(
        /activations of 9 clips takes 1073741824\.0 MiB, and \d+\.\d MiB of \d+\.\d MiB is free; lower the batch size \(-b\)/,
      )
    }
  })

  test('gives memory back', () => {
    synchronize()
    const before = memoryInfo().free
    const made = allocate(2 ** 30, { what: 'a test', lower: 'it' })
    expect(memoryInfo().free).toBeLessThanOrEqual(before - 2 ** 30)
    free(made)
    expect(memoryInfo().free).toBe(before)
  })

  test.skipIf(GPUS < 2)('copies from one device to another', () => {
    const values = random(4096, 'peers')
    const from = gpu.put(values)
    synchronizeStream(gpu.stream)
    const other = retainContext(1)
    // Without it the driver takes the way through the host by itself.
    if (canAccessPeer(1, 0)) enablePeerAccess(gpu.context)
    const stream = createStream()
    const to = allocate(values.byteLength, { what: 'a test', lower: 'it' })
    copyPeer(to, other, from, gpu.context, values.byteLength, stream)
    const found = new Float32Array(4096)
    download(found, to, values.byteLength, stream)
    synchronizeStream(stream)
    expect(found).toEqual(values)
    free(to)
    destroyStream(stream)
    releaseContext(other)
    // The tests after this one use the first device again.
    makeCurrent(gpu.context)
  })
})
