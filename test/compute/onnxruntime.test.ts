import { describe, expect, test } from 'bun:test'
import { NativeError } from '../../ffi/error.ts'
import { ORT_FUNCTIONS, onnxRuntime } from '../../ffi/onnxruntime.ts'
import api from './ort-api.fixture.txt' with { type: 'text' }

describe('the C API', () => {
  // Names of struct OrtApi in their order, from onnxruntime_c_api.h of 1.12.
  const names = (api as unknown as string).trim().split('\n')

  test('the list of names has the sizes that ONNX Runtime asserts of its own struct, version by version', () => {
    const last = {
      ReleaseCustomOpDomain: 101,
      ReleaseModelMetadata: 118,
      AddFreeDimensionOverrideByName: 124,
      ReleaseAvailableProviders: 126,
      SetGlobalSpinControl: 149,
      ReleaseArenaCfg: 157,
      GetCurrentGpuDeviceId: 161,
      CreateSessionFromArrayWithPrepackedWeightsContainer: 169,
    }
    for (const [name, index] of Object.entries(last))
      expect([name, names.indexOf(name)]).toEqual([name, index])
    expect(new Set(names).size).toBe(names.length)
  })

  test('every function that is called is taken from its place', () => {
    for (const [name, [index]] of Object.entries(ORT_FUNCTIONS)) expect(names[index]).toBe(name)
  })

  test('the library tells its version, which is that of the package', () => {
    const version = require('onnxruntime-node/package.json').version
    expect(onnxRuntime().version).toBe(version)
  })
})

describe('failures', () => {
  test('carry the call, the code by name and the message', () => {
    const load = () =>
      onnxRuntime().session(new Uint8Array(16).fill(7), { threads: 1, spin: false, initializers: [] })
    expect(load).toThrow(NativeError)
    try {
      load()
    } catch (error) {
      const { library, call, status, statusName, message } = error as NativeError
      expect({ library, call, status, statusName }).toEqual({
        library: 'ONNX Runtime',
        call: 'CreateSessionFromArray',
        status: 7,
        statusName: 'ORT_INVALID_PROTOBUF',
      })
      expect(message).toContain('ORT_INVALID_PROTOBUF (7): ')
    }
  })
})
