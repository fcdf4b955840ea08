// Draws images with a page's own module and prints them as JSON: `node draw.js PAGE SEED LABEL [SEED LABEL]..`
'use strict';
const [page, ...wanted] = process.argv.slice(2);
const html = require('fs').readFileSync(page, 'utf8');
const part = (id) => html.match(new RegExp('<script[^>]* id="' + id + '">([^<]*)</script>'))[1];
const data = JSON.parse(part('data'));
WebAssembly.instantiate(Buffer.from(part('module'), 'base64')).then(({ instance }) => {
  const wasm = instance.exports;
  data.models.forEach((model, index) => {
    const bytes = Buffer.from(part('model-' + index), 'base64');
    const at = wasm.input(bytes.length);
    new Uint8Array(wasm.memory.buffer, at, bytes.length).set(bytes);
    if (wasm.load() !== index) throw new Error('load');
  });
  const images = [];
  for (let i = 0; i < wanted.length; i += 2) {
    data.models.forEach(({ width, height }, index) => {
      wasm.noise(BigInt(wanted[i]), data.latent);
      const at = wasm.generate(index, Number(wanted[i + 1]));
      images.push(Array.from(new Uint8Array(wasm.memory.buffer, at, width * height * 4)));
    });
  }
  wasm.input(4);
  const damaged = wasm.load();
  console.log(JSON.stringify({ images, damaged }));
});
