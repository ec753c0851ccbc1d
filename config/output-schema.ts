// Writes output.schema.json, the JSON Schema of the lines that `rnb` prints, beside itself: `bun config/output-schema.ts`.
import { fileURLToPath } from 'node:url'
import { toJsonSchema } from '@valibot/to-json-schema'
import {
  distributionSchema,
  errorSchema,
  lineSchema,
  resultSchema,
  summarySchema,
} from '../src/results/schema.ts'

const FILE = fileURLToPath(new URL('output.schema.json', import.meta.url))

/** The schema's text, from the description that the program's own types come from. */
export function outputSchemaText(): string {
  const { $schema, ...schema } = toJsonSchema(lineSchema, {
    definitions: {
      result: resultSchema,
      error: errorSchema,
      summary: summarySchema,
      distribution: distributionSchema,
    },
  })
  return `${JSON.stringify({ $schema, title: 'A line of output of rnb', ...schema }, null, 2)}\n`
}

if (import.meta.main) await Bun.write(FILE, outputSchemaText())
