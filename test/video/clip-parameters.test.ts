import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { clipParameters, KeptClipParameters } from '../../src/video/nvdec/clip-parameters.ts'
import { TORCHVISION_PREPROCESSING } from '../../src/video/preprocess.ts'

const frame = fc.record({
  format: fc.constantFrom('nv12' as const, 'p010le' as const),
  width: fc.constantFrom(64, 66),
  height: fc.constantFrom(48, 720),
  pitch: fc.constantFrom(512, 1024),
  colour: fc.constantFrom({}, { matrix: 1 }, { matrix: 6 }, { matrix: 1, fullRange: true }),
})
const rotation = fc.constantFrom(0 as const, 90 as const)

test('parameters that are kept are those of the frame, whatever came before it', () => {
  const layout = { kind: 'f16', channels: 8 } as const
  fc.assert(
    fc.property(fc.array(fc.tuple(frame, rotation), { maxLength: 8 }), frames => {
      const kept = new KeptClipParameters(TORCHVISION_PREPROCESSING, layout, 8)
      for (const [described, turned] of frames) {
        const parameters = kept.of(described, turned)
        expect(parameters).toEqual(clipParameters(described, turned, TORCHVISION_PREPROCESSING, layout, 8))
        expect(kept.of({ ...described, colour: { ...described.colour } }, turned)).toBe(parameters)
      }
    }),
  )
})
