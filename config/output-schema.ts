// Writes output.schema.json, the JSON Schema of the lines that `rnb` prints, beside itself: `bun config/output-schema.ts`.
import { fileURLToPath } from 'node:url'
import { toJsonSchema } from '@valibot/to-json-schema'
import * as v from 'valibot'
import { kernelLineSchema, profileSchema } from '../src/profile/schema.ts'
import {
  distributionSchema,
  errorSchema,
  lineSchema,
  resultSchema,
  summarySchema,
} from '../src/results/schema.ts'

const FILE = fileURLToPath(new URL('output.schema.json', import.meta.url))

/** The schema, from the description that the program's own types come from. */
export function outputSchema(): object {
  const any = v.variant('type', [...lineSchema.options, profileSchema, kernelLineSchema])
  const { $schema, ...schema } = toJsonSchema(any, {
    definitions: {
      result: resultSchema,
      error: errorSchema,
      summary: summarySchema,
      profile: profileSchema,
      kernel: kernelLineSchema,
      distribution: distributionSchema,
    },
  })
  return { $schema, title: 'A line of output of rnb', ...schema }
}

if (import.meta.main) {
  await Bun.write(FILE, `${JSON.stringify(outputSchema(), null, 2)}\n`)
  const biome = fileURLToPath(new URL('../node_modules/.bin/biome', import.meta.url))
  Bun.spawnSync([biome, 'format', '--write', FILE])
}
