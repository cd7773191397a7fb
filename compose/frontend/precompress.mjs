// Writes FILE.br and FILE.gz beside every text file of the build, so that the server compresses nothing at run time.
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

const root = process.argv[2];
const text = /\.(?:html|js|css|svg|webmanifest|txt)$/;
const encoders = {
  br: (data) => promisify(brotliCompress)(data, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: data.length } }),
  gz: (data) => promisify(gzip)(data, { level: constants.Z_BEST_COMPRESSION }),
};

for (const name of await readdir(root, { recursive: true })) {
  const file = path.join(root, name);
  if (!text.test(name) || !(await stat(file)).isFile()) continue;
  const data = await readFile(file);
  const sizes = [`${data.length} B`];
  for (const [suffix, encode] of Object.entries(encoders)) {
    const packed = await encode(data);
    await writeFile(`${file}.${suffix}`, packed);
    sizes.push(`${suffix} ${packed.length} B`);
  }
  console.log(`${name}: ${sizes.join(", ")}`);
}
