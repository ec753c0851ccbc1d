import { describe, expect, test } from 'bun:test'
import {
  architectureName,
  makeArchitecture,
  R2PLUS1D_18,
  R2PLUS1D_34,
  RNB_R2PLUS1D_18,
} from '../../models/architecture.ts'
import { describe as describeLayers, tensorShapes } from '../../models/description.ts'
import { cutShape } from '../../models/shapes.ts'
import { UsageError } from '../../src/errors.ts'
import { elements } from '../../src/queue/tensor.ts'

/** Numbers of trained values, batch-norm statistics left out. */
const parameters = (shapes: Map<string, number[]>): number =>
  [...shapes]
    .filter(([name]) => !name.includes('running_'))
    .reduce((sum, [, shape]) => sum + elements(shape), 0)

/** Channels between the factors, of each factored convolution of a layer. */
const middles = (architecture: typeof R2PLUS1D_18, layer: number): number[] =>
  describeLayers(architecture)
    [layer - 1]!.convolutions.filter(c => c.name.endsWith('spatial'))
    .map(c => c.channelsOut)

describe('architectures', () => {
  test('have the channels of the paper, in both layouts', () => {
    expect(middles(R2PLUS1D_18, 1)).toEqual([45])
    expect(middles(R2PLUS1D_18, 2)).toEqual([144, 144, 144, 144])
    expect(middles(R2PLUS1D_18, 3)).toEqual([230, 230, 288, 288])
    expect(middles(R2PLUS1D_18, 4)).toEqual([460, 460, 576, 576])
    expect(middles(R2PLUS1D_18, 5)).toEqual([921, 921, 1152, 1152])
    expect(middles(RNB_R2PLUS1D_18, 1)).toEqual([83])
    expect(middles(RNB_R2PLUS1D_18, 3)).toEqual([230, 42, 288, 288, 288])
  })

  test('have as many parameters as torchvision says of r2plus1d_18, and tensors by its names', () => {
    const shapes = tensorShapes(R2PLUS1D_18)
    expect(parameters(shapes)).toBe(31_505_325)
    expect(shapes.get('layer2.0.downsample.0.weight')).toEqual([128, 64, 1, 1, 1])
    expect(shapes.get('layer4.1.conv2.0.3.weight')).toEqual([512, 1152, 3, 1, 1])
    expect(shapes.has('stem.4.running_var')).toBe(true)
    const rnb = tensorShapes(RNB_R2PLUS1D_18)
    expect(rnb.get('res2plus1d.conv3.block1.downsampleconv.spatial_conv.weight')).toEqual([42, 64, 1, 1, 1])
    expect(rnb.get('res2plus1d.conv5.blocks.0.conv2.temporal_conv.bias')).toEqual([512])
    expect([...rnb.keys()].filter(name => name.includes('conv1.bn1') || name === 'res2plus1d.bn')).toEqual([])
  })

  test('cost what DESIGN says: 20.26 G multiply-adds for a clip of 8 frames', () => {
    let multiplications = R2PLUS1D_18.classes * 512
    const sizes = new Map([['cut0', [8, 112, 112]]])
    for (const c of describeLayers(R2PLUS1D_18).flatMap(layer => layer.convolutions)) {
      const size = sizes.get(c.input)!.map((n, i) => Math.ceil(n / c.stride[i]!))
      sizes.set(c.output, size)
      multiplications += elements(size) * elements(c.kernel) * c.channelsIn * c.channelsOut
    }
    expect(multiplications / 1e9).toBeCloseTo(20.26, 2)
  })

  test('have a name for people', () => {
    expect(architectureName(R2PLUS1D_34)).toBe('r2plus1d_34 (layout torchvision; 400 classes)')
    const small = makeArchitecture({ widths: [8, 16, 32, 64], blocks: [1, 1, 1, 1], classes: 8 })
    expect(architectureName(small)).toBe(
      'r2plus1d_10 (layout torchvision; 8 classes; blocks 1, 1, 1, 1; widths 8, 16, 32, 64)',
    )
  })

  test('must have sizes that can be', () => {
    expect(() => makeArchitecture({ classes: 0 })).toThrow(UsageError)
    expect(() => makeArchitecture({ blocks: [2, 2, 2] as never })).toThrow(/blocks per stage.*\[2,2,2\]/)
    expect(() => makeArchitecture({ widths: [8, 8, 8.5, 8] })).toThrow(/channels per stage/)
  })
})

describe('cuts', () => {
  const clip = { frames: 8, height: 112, width: 112 }

  test("have RnB's shapes", () => {
    const shapes = [0, 1, 2, 3, 4, 5].map(cut => cutShape(R2PLUS1D_18, cut, clip))
    expect(shapes).toEqual([
      [3, 8, 112, 112],
      [64, 8, 56, 56],
      [64, 8, 56, 56],
      [128, 4, 28, 28],
      [256, 2, 14, 14],
      [400],
    ])
  })

  test('follow any clip, and refuse what is none', () => {
    expect(cutShape(RNB_R2PLUS1D_18, 4, { frames: 17, height: 171, width: 128 })).toEqual([256, 5, 22, 16])
    expect(cutShape(R2PLUS1D_18, 4, { frames: 1, height: 1, width: 1 })).toEqual([256, 1, 1, 1])
    expect(() => cutShape(R2PLUS1D_18, 6, clip)).toThrow(UsageError)
    expect(() => cutShape(R2PLUS1D_18, 1, { ...clip, frames: 0 })).toThrow(UsageError)
  })
})
