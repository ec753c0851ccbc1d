/** Run by nvdec.test.ts with RNB_NVCUVID naming nvdec-fake.c, compiled: see there for its streams. */
import { dlopen, FFIType, type Pointer, ptr, toArrayBuffer } from 'bun:ffi'
import { afterEach, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import type { CUcontext, CUstream } from '../../ffi/cuda/types.ts'
import { NativeError } from '../../ffi/error.ts'
import { createContextLock, destroyContextLock, withContextLock } from '../../ffi/nvcuvid/lock.ts'
import { VideoError } from '../../src/errors.ts'
import { NvdecDecoder } from '../../src/video/nvdec/decoder.ts'
import { DecoderPool, sizeBucket, surfaceBucket } from '../../src/video/nvdec/pool.ts'
import { NvdecRefusal } from '../../src/video/nvdec/refusal.ts'
import type { SurfaceFrame } from '../../src/video/nvdec/surface.ts'
import type { Packet, StreamInfo } from '../../src/video/types.ts'
import { COUNTS, type FakeCounts, type FakeFormat, keyData, namedCounts, pictureData } from './nvdec-fake.ts'

const fake = dlopen(process.env.RNB_NVCUVID!, { fakeCounts: { args: [FFIType.ptr], returns: FFIType.void } })

/** What the library has counted since it was loaded. */
function counts(): FakeCounts {
  const words = new Int32Array(new ArrayBuffer(4 * COUNTS.length))
  fake.symbols.fakeCounts(ptr(words))
  return namedCounts(words)
}

/** What goes wrong with a picture. */
const LOST = 1
const ERROR = 2
const CONCEALED = 4
const REFUSED = 8
const UNPARSED = 16

const key = (index: number, format: Partial<FakeFormat> = {}, wrong = 0): Packet => ({
  data: keyData(format, wrong),
  index,
  key: true,
})
const picture = (index: number, wrong = 0): Packet => ({ data: pictureData(wrong), index, key: false })

/** VP8, since its packets are parsed as they are. */
const info = (codec = 'vp8', description?: Uint8Array): StreamInfo => ({
  codec,
  description,
  width: 348,
  height: 254,
  rotation: 0,
  colour: {},
})

let fences = 0
let events: string[] = []
const makeFence = () => {
  const name = ++fences
  return {
    record: () => void events.push(`record ${name}`),
    wait: () => void events.push(`wait ${name}`),
    close: () => void events.push(`close ${name}`),
  }
}

const STREAM = 0x1000 as CUstream
const open: { decoder: NvdecDecoder; pool: DecoderPool }[] = []
function makeDecoder({ decoders = 2, group = 2, pool = new DecoderPool(DecoderPool.create(decoders)) } = {}) {
  const decoder = new NvdecDecoder({ pool, stream: STREAM, makeFence, group })
  open.push({ decoder, pool })
  return decoder
}

afterEach(() => {
  for (const { decoder, pool } of open.splice(0)) {
    decoder.close()
    pool.close()
  }
  events = []
  const now = counts()
  expect(now.misuse).toBe(0)
  expect(now.mapped).toBe(now.unmapped)
  expect(now.parsersMade).toBe(now.parsersDestroyed)
  expect(now.decodersMade).toBe(now.decodersDestroyed)
})

/** Decodes and gives what was handed over: groups of presentation indices, each checked against its pixels. */
async function decode(decoder: NvdecDecoder, packets: Packet[], wanted: number[], stream = info()) {
  const groups: number[][] = []
  const decoded = await decoder.decode(stream, packets, wanted, frames => {
    for (const frame of frames) expect(lumaOf(frame)).toBe(frame.index & 255)
    expect(new Set(frames.map(({ format, width, pitch }) => `${format} ${width} ${pitch}`)).size).toBe(1)
    groups.push(frames.map(frame => frame.index))
    events.push(`frames ${frames.map(frame => frame.index)}`)
  })
  return { decoded, groups, indices: groups.flat() }
}

/** The first shown sample, which the library made in host memory. */
const lumaOf = ({ luma }: SurfaceFrame) => new Uint8Array(toArrayBuffer(luma as Pointer, 0, 1))[0]!

/** A keyframe, then groups of a P picture and two that are shown before it. */
function reordered(count: number): Packet[] {
  const packets = [key(0)]
  for (let p = 3; p < count; p += 3) packets.push(picture(p), picture(p - 2), picture(p - 1))
  return packets
}

describe('frames', () => {
  test('come in presentation order, in groups, and only those wanted are mapped', async () => {
    const before = counts()
    const { decoded, groups } = await decode(makeDecoder(), reordered(19), [4, 5, 6, 9, 11])
    expect(groups).toEqual([[4, 5], [6, 9], [11]])
    expect(counts().mapped - before.mapped).toBe(5)
    // What comes after the last wanted picture was shown is not parsed.
    expect(decoded).toBeLessThan(19)
  })

  test('are given back when what reads them is done, not before', async () => {
    await decode(makeDecoder(), reordered(19), [0, 1, 2, 3, 4, 5, 6])
    const handed = events.filter(e => e.startsWith('frames') || e.startsWith('record'))
    expect(handed.map(e => e.split(' ')[0])).toEqual(Array(4).fill(['frames', 'record']).flat())
    const mark = (kind: string) => events.filter(e => e.startsWith(kind)).map(e => e.split(' ')[1])
    // In the order in which they were handed over; each once.
    expect(mark('wait')).toEqual(mark('record'))
    expect(counts().mostMapped).toBeLessThanOrEqual(4)
  })

  test('are described: format, crop, planes, colour', async () => {
    const frames: SurfaceFrame[] = []
    const stream = { ...info('mpeg4'), colour: { matrix: 6 } }
    await makeDecoder().decode(stream, [key(0)], [0], group => void frames.push(...group))
    const [frame] = frames
    expect(frame).toMatchObject({
      format: 'nv12',
      width: 348,
      height: 254,
      pitch: 8192,
      colour: { matrix: 1, fullRange: true },
    })
    expect(frame!.chroma - frame!.luma).toBe(256 * 8192)
    const ten: SurfaceFrame[] = []
    await makeDecoder().decode(info(), [key(0, { depth: 10 })], [0], group => void ten.push(...group))
    expect(ten[0]!.format).toBe('p010le')
  })

  test('keep an odd size of VP8, of which nvcuvid says the even one below', async () => {
    const sizes: string[] = []
    for (const codec of ['vp8', 'vp9'])
      await makeDecoder().decode({ ...info(codec), width: 349, height: 255 }, [key(0)], [0], ([frame]) => {
        sizes.push(`${codec} ${frame!.width}x${frame!.height}`)
      })
    expect(sizes).toEqual(['vp8 349x255', 'vp9 348x254'])
  })

  test('of any stretches of a stream: what was wanted, in order', async () => {
    const decoder = makeDecoder({ group: 3 })
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.nat(29), { minLength: 1 }),
        fc.nat(9),
        async (indices, restartAt) => {
          const wanted = [...indices].sort((a, b) => a - b)
          const packets = reordered(28)
          // A second stretch, after a gap: the picture numbers go on.
          const second = [{ ...key(30 + restartAt), restart: true }, picture(31 + restartAt)]
          const both = [...wanted.filter(index => index < 28), 30 + restartAt, 31 + restartAt]
          expect((await decode(decoder, [...packets, ...second], both)).indices).toEqual(both)
        },
      ),
      { numRuns: 50 },
    )
  })

  test('none wanted: nothing happens', async () => {
    const before = counts()
    expect(await decode(makeDecoder(), reordered(10), [])).toEqual({ decoded: 0, groups: [], indices: [] })
    expect(counts()).toEqual(before)
  })

  test('packets without data are no pictures', async () => {
    const dropped: Packet = { data: new Uint8Array(0), index: 1, key: false }
    expect((await decode(makeDecoder(), [key(0), dropped, picture(2)], [0, 2])).indices).toEqual([0, 2])
  })

  test('packets may come from an asynchronous source', async () => {
    async function* source() {
      yield* reordered(10)
    }
    const seen: number[] = []
    await makeDecoder().decode(
      info(),
      source(),
      [2, 3],
      frames => void seen.push(...frames.map(f => f.index)),
    )
    expect(seen).toEqual([2, 3])
  })
})

describe('damage', () => {
  const failure = (packets: Packet[], wanted: number[], stream = info()) =>
    decode(makeDecoder(), packets, wanted, stream).then(
      () => undefined,
      error => {
        expect(error).toBeInstanceOf(VideoError)
        return (error as VideoError).code
      },
    )

  test.each([
    ['a lost picture', LOST],
    ['an error', ERROR],
    ['a concealed error', CONCEALED],
    ['a refused picture', REFUSED],
    ['a packet that cannot be parsed', UNPARSED],
  ])('%s fails what depends on it and nothing else', async (_, wrong) => {
    const stream = [
      key(0),
      picture(1),
      picture(2, wrong),
      picture(3),
      picture(4),
      key(5),
      picture(6),
      picture(7),
    ]
    expect(await failure(stream, [4])).toBe('damaged')
    expect(await failure(stream, [2, 3])).toBe('damaged')
    expect(await failure(stream, [0, 1])).toBeUndefined()
    expect(await failure(stream, [5, 6, 7])).toBeUndefined()
    expect(await failure(stream, [3, 6])).toBe('damaged')
  })

  test('of a picture that is never mapped, whose surface is written over long before', async () => {
    const many = Array.from({ length: 60 }, (_, i) => picture(i + 1, i === 2 ? ERROR : 0))
    expect(await failure([key(0), ...many], [60])).toBe('damaged')
  })

  test('a wanted frame that never comes', async () => {
    expect(await failure([key(0), picture(1)], [0, 1, 2])).toBe('damaged')
    expect(await failure([key(0), picture(1), picture(3), picture(4), picture(5)], [2, 3])).toBe('damaged')
  })

  test('no stream at all', async () => {
    expect(await failure([picture(0), picture(1)], [0])).toBe('damaged')
    expect(await failure([], [0])).toBe('damaged')
  })

  test('a NAL unit that is cut short', async () => {
    const description = Uint8Array.of(1, 100, 0, 31, 0xff, 0xe0, 0)
    // Behind its start code the made-up picture would be read: a length prefix of one byte less than there is.
    const unit = (packet: Packet, length: number): Packet => ({
      ...packet,
      data: Uint8Array.of(0, 0, 0, length, ...packet.data),
    })
    const whole = unit(key(0), 7)
    const cut = unit(picture(1), 9)
    expect(await failure([whole], [0], info('h264', description))).toBe('damaged')
    expect(await failure([whole, cut], [1], info('h264', description))).toBe('damaged')
  })

  test('leaves the decoder and the pool usable', async () => {
    const pool = new DecoderPool(DecoderPool.create(1))
    const decoder = makeDecoder({ pool })
    await expect(decode(decoder, [key(0), picture(1, ERROR), picture(2)], [0, 1, 2])).rejects.toThrow(
      'damaged',
    )
    expect((await decode(decoder, reordered(10), [3])).indices).toEqual([3])
    expect(pool.counts).toEqual({ made: 1, reused: 1, reconfigured: 0, evicted: 0 })
  })

  test('codecs without decode statuses are known by what is missing', async () => {
    expect(await failure([key(0), picture(1, ERROR), picture(2)], [2], info('vp9'))).toBeUndefined()
    expect(await failure([key(0), picture(1, LOST), picture(2)], [2], info('vp9'))).toBe('damaged')
  })
})

describe('streams that NVDEC does not take', () => {
  test.each([
    ['codec', 'theora', {}, 'unsupported_codec'],
    ['codec', 'av1', {}, 'unsupported_codec'],
    ['chroma', 'vp8', { chroma: 3 }, 'unsupported_format'],
    ['depth', 'vp8', { depth: 12 }, 'unsupported_format'],
    ['size', 'vp8', { width: 32 }, 'size_limit'],
    ['size', 'vp8', { width: 4080, height: 16 }, 'size_limit'],
  ] as const)('%s: %s %o', async (reason, codec, format, code) => {
    const decoder = makeDecoder()
    const error = await decode(decoder, [key(0, format)], [0], info(codec)).catch(e => e)
    expect(error).toBeInstanceOf(NvdecRefusal)
    expect(error).toMatchObject({ reason, code })
    expect((await decode(decoder, reordered(4), [1])).indices).toEqual([1])
  })
})

test('MPEG-2 whose width is no multiple of 16, which nvcuvid does not decode whole', async () => {
  const UNEVEN = 32
  const error = await decode(makeDecoder(), [key(0, {}, UNEVEN)], [0], info('mpeg2video')).catch(e => e)
  expect(error).toMatchObject({ reason: 'size', code: 'size_limit' })
  expect((await decode(makeDecoder(), [key(0)], [0], info('mpeg2video'))).indices).toEqual([0])
})

describe('what a callback throws', () => {
  test('comes out of decode, and the decoder is not used again', async () => {
    const pool = new DecoderPool(DecoderPool.create(1))
    const decoder = makeDecoder({ pool, group: 1 })
    const destroyed = counts().decodersDestroyed
    const thrown = new NativeError('libcuda', 'cuLaunchKernel', 719, 'CUDA_ERROR_LAUNCH_FAILED')
    const running = decoder.decode(info(), reordered(10), [1, 2], () => {
      throw thrown
    })
    await expect(running).rejects.toBe(thrown)
    expect(counts().decodersDestroyed).toBe(destroyed + 1)
    expect((await decode(decoder, reordered(4), [1])).indices).toEqual([1])
  })
})

describe('the pool', () => {
  test('reuses a decoder for the same format, and reconfigures it for another size', async () => {
    const pool = new DecoderPool(DecoderPool.create(1))
    const decoder = makeDecoder({ pool })
    await decode(decoder, [key(0)], [0])
    await decode(decoder, [key(0)], [0])
    expect(pool.counts).toEqual({ made: 1, reused: 1, reconfigured: 0, evicted: 0 })
    await decode(decoder, [key(0, { width: 320, height: 240 })], [0])
    await decode(decoder, [key(0, { width: 320, height: 240 })], [0])
    expect(pool.counts).toEqual({ made: 1, reused: 3, reconfigured: 1, evicted: 0 })
  })

  test('makes another for another codec, depth, number of surfaces or much other size, and room for it', async () => {
    const pool = new DecoderPool(DecoderPool.create(2))
    const decoder = makeDecoder({ pool })
    await decode(decoder, [key(0)], [0])
    await decode(decoder, [key(0)], [0], info('vp9'))
    expect(pool.counts).toMatchObject({ made: 2, evicted: 0 })
    await decode(decoder, [key(0, { depth: 10 })], [0])
    await decode(decoder, [key(0, { surfaces: 15 })], [0])
    await decode(decoder, [key(0, { width: 1920, height: 1088 })], [0])
    expect(pool.counts).toEqual({ made: 5, reused: 0, reconfigured: 0, evicted: 3 })
    // The two used last are there.
    await decode(decoder, [key(0, { surfaces: 15 })], [0])
    expect(pool.counts).toMatchObject({ made: 5, reused: 1 })
  })

  test('to be filled, makes decoders while there is room, and reuses them after', async () => {
    const pool = new DecoderPool(DecoderPool.create(2))
    const decoder = makeDecoder({ pool })
    pool.fills = true
    for (let i = 0; i < 3; i++) await decode(decoder, [key(0)], [0])
    expect(pool.counts).toEqual({ made: 2, reused: 1, reconfigured: 0, evicted: 0 })
    await decode(decoder, [key(0)], [0], info('vp9'))
    pool.fills = false
    await decode(decoder, [key(0)], [0])
    expect(pool.counts).toEqual({ made: 3, reused: 2, reconfigured: 0, evicted: 1 })
  })

  test('prefers a decoder that has the size', async () => {
    const pool = new DecoderPool(DecoderPool.create(2))
    const decoder = makeDecoder({ pool })
    const config = {
      codec: 9,
      chroma: 1,
      depth: 8,
      surfaceFormat: 0,
      maxWidth: 512,
      maxHeight: 512,
      decodeSurfaces: 8,
      outputSurfaces: 4,
    }
    const [small, large] = [
      { ...config, width: 352, height: 256 },
      { ...config, width: 512, height: 512 },
    ]
    const [first, second] = [pool.take(small), pool.take(large)]
    pool.giveBack(first, small)
    pool.giveBack(second, large)
    await decode(decoder, [key(0)], [0])
    expect(pool.counts).toEqual({ made: 2, reused: 1, reconfigured: 0, evicted: 0 })
    expect(pool.take(large).decoder).toBe(second.decoder)
    pool.giveBack(second, large)
  })

  test('a thread waits while all are taken', async () => {
    const handle = DecoderPool.create(1)
    const pool = new DecoderPool(handle)
    const config = {
      codec: 9,
      chroma: 1,
      depth: 8,
      surfaceFormat: 0,
      width: 352,
      height: 256,
      maxWidth: 512,
      maxHeight: 512,
      decodeSurfaces: 8,
      outputSurfaces: 4,
    }
    const lease = pool.take(config)
    const worker = new Worker(new URL('./nvdec-pool.worker.ts', import.meta.url))
    const said: string[] = []
    const taken = new Promise<number>(resolve => {
      worker.onmessage = ({ data }) => {
        said.push(data.what)
        if (data.what === 'waiting') {
          said.push('given back')
          pool.giveBack(lease, config)
        } else resolve(data.decoder)
      }
    })
    worker.postMessage({ handle, config })
    expect(await taken).toBe(lease.decoder)
    expect(said).toEqual(['waiting', 'given back', 'taken'])
    worker.terminate()
    pool.close()
  })

  test('sizes: a few that all others fit in, within the limits', () => {
    const limits = { maxWidth: 4096, maxHeight: 4096, maxMacroblocks: 65536 }
    const size = fc.record({
      width: fc.integer({ min: 16, max: 4096 }),
      height: fc.integer({ min: 16, max: 4096 }),
    })
    fc.assert(
      fc.property(size, ({ width, height }) => {
        const { maxWidth, maxHeight } = sizeBucket({ width, height }, limits)
        expect(maxWidth).toBeGreaterThanOrEqual(width)
        expect(maxHeight).toBeGreaterThanOrEqual(height)
        expect(maxWidth).toBeLessThanOrEqual(4096)
        expect(maxHeight).toBeLessThanOrEqual(4096)
      }),
    )
    expect(sizeBucket({ width: 4096, height: 2000 }, { ...limits, maxMacroblocks: 32000 })).toEqual({
      maxWidth: 4096,
      maxHeight: 2000,
    })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 32 }), n => surfaceBucket(n) > n && surfaceBucket(n) % 4 === 0),
    )
  })
})

test('the format may change within a stream', async () => {
  const pool = new DecoderPool(DecoderPool.create(2))
  const decoder = makeDecoder({ pool })
  const packets = [
    key(0),
    picture(1),
    key(2, { width: 320 }),
    picture(3),
    key(4, { depth: 10 }),
    picture(5),
    picture(6),
    key(7),
    picture(8),
  ]
  const all = [0, 1, 2, 3, 4, 5, 6, 7, 8]
  expect((await decode(decoder, packets, all)).indices).toEqual(all)
  expect(pool.counts).toEqual({ made: 2, reused: 1, reconfigured: 2, evicted: 0 })
})

test('a context lock is created, held and destroyed', () => {
  const lock = createContextLock(0x2000 as CUcontext)
  expect(lock as number).toBe(0x2000)
  expect(withContextLock(lock, () => 7)).toBe(7)
  destroyContextLock(lock)
})
