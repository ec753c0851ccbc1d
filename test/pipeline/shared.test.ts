import { expect, test } from 'bun:test'
import type { Network } from '../../models/network.ts'
import { type SharedRun, sharedWith } from '../../src/pipeline/shared.ts'

test('a worker is sent the networks that its step runs, by their numbers, and no others', () => {
  const [first, second] = [{ name: 'first' }, { name: 'second' }] as unknown as [Network, Network]
  const plan = { steps: [{}, { network: 1 }, { network: 0 }] }
  const shared = { plan, networks: [first, second], videos: ['a.mp4'] } as unknown as SharedRun
  expect(sharedWith(shared).networks).toEqual([undefined, undefined])
  expect(sharedWith(shared, { step: 0 }).networks).toEqual([undefined, undefined])
  expect(sharedWith(shared, { step: 1 }).networks).toEqual([undefined, second])
  expect(sharedWith(shared, { step: 2 }).networks).toEqual([first, undefined])
  expect(sharedWith(shared, { step: 1 }).videos).toEqual(['a.mp4'])
})
