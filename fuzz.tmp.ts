import { readFileSync, writeFileSync, readdirSync } from 'node:fs';
import { openSafetensors } from './src/checkpoint/safetensors.ts';
import { openTorch } from './src/checkpoint/torch.ts';
import { FlashError } from './src/errors.ts';
import { elementsOf, randomNumbers, readTensor } from './test/checkpoint/helpers.ts';
const seed=Number(process.argv[2]);const random=randomNumbers(seed);const below=(n:number)=>Math.floor(random()*n);
const dir='fixtures/torch/';const files=readdirSync(dir).filter(f=>/\.(pt|safetensors)$/.test(f)&&f!=='broken.pt');
const path='/tmp/bigck/fuzz'+seed;let n=0,ok=0;const end=Date.now()+Number(process.argv[3])*1000;let slow=0;
const msgs=new Map<string,number>();
while(Date.now()<end){const f=files[below(files.length)]!;const w=readFileSync(dir+f);let b=Buffer.from(w);
 const pk=f.endsWith('.pt')?Math.max(0,w.indexOf('\x80\x02','latin1')):0;
 for(let k=1+below(4);k>0;k--){const m=below(4);const at=m===0?below(b.length):m===1?Math.min(b.length-1,pk+below(300)):m===2?b.length-1-below(Math.min(b.length,1000)):below(Math.min(b.length,400));
  const op=below(5);if(op===0)b[at]=below(256);else if(op===1)b[at]=[0,0xff,0x7f,0x80][below(4)]!;else if(op===2)b[at]=b[below(b.length)]!;else if(op===3&&at+8<b.length){b.fill(0xff,at,at+1+below(8))}else{const s=below(b.length),l=below(40);b=Buffer.concat([b.subarray(0,at),b.subarray(s,s+l),b.subarray(at)])}}
 writeFileSync(path,b);const t=performance.now();let s;
 try{s=await (f.endsWith('.pt')?openTorch:openSafetensors)(path);for(const x of s.tensors.values())await readTensor(x,0,Math.min(elementsOf(x),4096));ok++}
 catch(e:any){if(!(e instanceof FlashError)||e.exitCode!==2||/\p{Cc}/u.test(e.line)){console.log('BAD',f,e);writeFileSync('/tmp/bigck/bad'+n,b)}
  const k=e.message.replace(/".*?"/g,'S').replace(/\d+/g,'N').slice(0,60);msgs.set(k,(msgs.get(k)??0)+1)}
 finally{await s?.close()}
 slow=Math.max(slow,performance.now()-t);n++}
console.log(seed,n,'ok',ok,'slowest',slow.toFixed(0),'rss',(process.resourceUsage().maxRSS/1024).toFixed(0));
if(seed===11)console.log([...msgs].sort((a,b)=>b[1]-a[1]).slice(0,45))
