"""The page's style sheet and script: light, dark, narrow, print; without the script all is readable."""

STYLE = """
:root{color-scheme:light dark;--paper:#fbfbfa;--card:#fff;--ink:#1b2029;--muted:#646b77;--line:#e3e4e6;
--soft:#f1f2f3;--accent:#17705b;--accent-rgb:23 112 91;--miss-rgb:200 74 38;--warn:#8a5200;--warn-bg:#fff5e0;
--warn-line:#eccb8c;--bad:#b4341c;--strong:#fff;
--chart-text:#1b2029;--chart-muted:#646b77;--chart-grid:#e6e7ea;--chart-train:#2f6fb3;
--chart-val:#c8502b;--chart-iou:#17705b;--chart-accuracy:#8a6d1f;--chart-rate:#6a5a94;--chart-alarm:#c01f2e}
@media screen and (prefers-color-scheme:dark){:root{--paper:#14171b;--card:#1b1f24;--ink:#e7e9ec;
--muted:#9aa2ad;--line:#2d333a;--soft:#23282e;--accent:#5cc4a6;--accent-rgb:64 164 136;--miss-rgb:226 104 66;
--warn:#f0c274;--warn-bg:#2c2415;--warn-line:#5d4a22;--bad:#f0876c;--strong:#fff;
--chart-text:#e7e9ec;--chart-muted:#9aa2ad;--chart-grid:#2b3138;--chart-train:#6fa8e2;--chart-val:#f08a63;
--chart-iou:#5cc4a6;--chart-accuracy:#d9b95b;--chart-rate:#b3a2e0;--chart-alarm:#ff6b78}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",
Roboto,"Helvetica Neue","Noto Sans","Liberation Sans",Arial,sans-serif;font-variant-numeric:tabular-nums}
main,header,footer,nav ul{max-width:1180px;margin:0 auto;padding:0 28px}
header{padding-top:44px}
.eyebrow{margin:0 0 6px;color:var(--muted);font-size:14px}
h1{margin:0;font-size:clamp(28px,4.4vw,42px);line-height:1.15;letter-spacing:-.018em;font-weight:700;
overflow-wrap:anywhere}
h1 small{font-weight:400;color:var(--muted);font-size:.62em;letter-spacing:0}
.verdict{max-width:46em;margin:14px 0 0;font-size:18px;overflow-wrap:anywhere}
h2{margin:0 0 10px;font-size:23px;letter-spacing:-.01em;line-height:1.25}
h3{margin:26px 0 8px;font-size:16px}
.lead{max-width:56em;margin:-4px 0 16px;color:var(--muted)}
.lead b{color:var(--ink);font-weight:600}
section{margin-top:56px;scroll-margin-top:56px}
small{font-size:.86em;color:var(--muted)}
a{color:inherit}
nav{position:sticky;top:0;z-index:5;margin-top:26px;background:var(--paper);
border-bottom:1px solid var(--line)}
nav ul{display:flex;gap:22px;list-style:none;overflow-x:auto;white-space:nowrap;scrollbar-width:none}
nav a{display:block;padding:11px 0;font-size:14.5px;color:var(--muted);text-decoration:none}
nav a:hover,nav a:focus-visible{color:var(--ink);box-shadow:inset 0 -2px var(--accent)}
.notes{margin:22px 0 0;padding:0;list-style:none;display:grid;gap:8px}
.notes li{padding:10px 14px;border:1px solid var(--warn-line);border-radius:8px;background:var(--warn-bg);
color:var(--warn);overflow-wrap:anywhere}
.figures{display:grid;grid-template-columns:minmax(330px,1.45fr) 2fr;gap:16px;margin-top:28px}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:20px 22px;min-width:0}
.hero .value{font-size:58px;font-weight:700;letter-spacing:-.035em;line-height:1.05;color:var(--accent)}
.label{font-size:14px;color:var(--muted)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(136px,1fr));gap:18px 16px;align-items:end}
.tiles .value{font-size:21px;font-weight:650;letter-spacing:-.015em;line-height:1.35;white-space:nowrap}
.tiles .label{display:block;line-height:1.3}
.hero{display:flex;flex-direction:column;gap:18px}
.spread{margin-top:auto}
.spread div{position:relative;height:20px;margin:0 4px;border-bottom:2px solid var(--line)}
.spread i{position:absolute;bottom:-2px;width:7px;height:20px;margin-left:-3px;border-radius:3px;
box-shadow:0 0 0 1px var(--card),inset 0 0 0 1px rgb(128 128 128/.45)}
.spread p{display:flex;justify-content:space-between;margin:5px 0 0;font-size:13px;color:var(--muted)}
.scale{margin:0;padding:0;list-style:none;display:grid;gap:7px;font-size:14px}
.scale li{display:grid;grid-template-columns:1fr auto;gap:1px 12px;align-items:baseline}
.bar{display:block;height:8px;border-radius:4px;background:var(--soft);overflow:hidden}
.bar i{display:block;height:100%;background:var(--accent);min-width:1px}
.scale .bar{grid-column:1/-1}
.scale .other{color:var(--muted)}
.scale .other .bar i{background:var(--muted)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:16px}
.charts figure{margin:0;padding:14px 12px 8px}
.charts svg{display:block;width:100%;height:auto}
svg text{font-family:inherit!important}
.scroll{overflow-x:auto;-webkit-overflow-scrolling:touch}
.tall{max-height:680px;overflow-y:auto;border:1px solid var(--line);border-radius:10px}
table{border-collapse:collapse;width:100%;font-size:15px}
th{font-weight:inherit;text-align:left}
td,th{padding:7px 12px;border-bottom:1px solid var(--line);vertical-align:middle}
thead th{color:var(--muted);font-size:13.5px;white-space:nowrap;background:var(--paper)}
.tall thead th{position:sticky;top:0;z-index:1}
.num{text-align:right;white-space:nowrap}
.wide{width:30%;min-width:190px}
.id{color:var(--muted);width:1%}
.classes tbody th{font-weight:600;white-space:nowrap}
.meter{display:grid;grid-template-columns:1fr 70px;gap:10px;align-items:center}
.weak .bar i{background:rgb(var(--miss-rgb))}
.weak td.wide{color:var(--bad);font-weight:600}
.absent{color:var(--muted)}
.absent th{font-weight:400!important}
.tag{padding:1px 8px;border:1px solid var(--line);border-radius:10px;font-size:13px}
.taken{white-space:nowrap}
th button{all:unset;cursor:pointer}
th button:focus-visible{outline:2px solid var(--accent);outline-offset:3px}
th[aria-sort=ascending] button::after{content:" ↑"}
th[aria-sort=descending] button::after{content:" ↓"}
th[aria-sort]{color:var(--ink)}
.chip{display:inline-block;width:13px;height:13px;margin-right:8px;border-radius:3px;vertical-align:-1px;
box-shadow:inset 0 0 0 1px rgb(128 128 128/.45)}
.shares{display:grid;grid-template-columns:auto 1fr;gap:5px 12px;align-items:center;margin:0 0 20px;
font-size:14px;color:var(--muted)}
.share{display:flex;height:22px;border-radius:5px;overflow:hidden}
.share i{min-width:0}
.matrix{width:auto;font-size:13px;border-spacing:2px;border-collapse:separate}
.matrix td,.matrix th{padding:0;border:0}
.matrix td{min-width:36px;height:32px;text-align:center;border-radius:4px;
background:rgb(var(--h)/var(--v,.035))}
.matrix .hit{--h:var(--accent-rgb)}
.matrix .miss{--h:var(--miss-rgb)}
.matrix td:not([style]){--h:128 128 128}
.matrix td.strong{color:var(--strong)}
.matrix thead th{background:none;vertical-align:bottom;height:1px;padding-bottom:6px}
.matrix thead th span{display:inline-block;writing-mode:vertical-rl;transform:rotate(180deg);font-size:13px;
max-height:150px;overflow:hidden;text-overflow:ellipsis;line-height:36px;color:var(--ink)}
.matrix thead .chip{margin:0 0 7px;vertical-align:0}
.matrix tbody th{position:sticky;left:0;z-index:1;background:var(--paper);text-align:right;white-space:nowrap;
padding:0 8px 0 0;max-width:190px;overflow:hidden;text-overflow:ellipsis}
.matrix tbody .chip{margin:0 0 0 8px}
.matrix .corner{background:none;color:var(--muted);font-size:12.5px;vertical-align:bottom;text-align:right;
padding:0 8px 8px 0;line-height:1.5;min-width:96px}
.matrix .corner span{display:block}
.confusion{display:grid;grid-template-columns:minmax(0,auto) minmax(300px,1fr);gap:36px}
.confusion.many{grid-template-columns:minmax(0,1fr)}
.confusion.many .mistakes{grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));column-gap:48px}
.confusion h3{margin-top:0}
.mistakes{margin:0;padding:0;list-style:none;display:grid;gap:15px;font-size:15px;align-content:start}
.mistakes li{display:grid;grid-template-columns:minmax(0,1fr) minmax(150px,auto);
gap:3px 14px;align-items:center}
.mistakes li>:nth-child(even){text-align:right}

.mistakes b{font-weight:600;display:inline-block}
.mistakes .bar{height:5px}
.mistakes .bar i{background:rgb(var(--miss-rgb))}
.steps{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:14px 26px;margin:0}
.steps dt{color:var(--muted);font-size:14.5px;padding-top:1px}
.steps dd{margin:0}
.steps ul{margin:0;padding:0;list-style:none;display:grid;gap:7px;max-width:56em}
.steps em{font-style:normal;color:var(--accent);font-weight:600}
.steps .code{margin:7px 0 4px}
.steps .chip{margin-right:5px;width:11px;height:11px}
.plot{margin:0}
.plot svg{display:block;width:100%;max-width:560px;height:auto;margin:0 auto}
.plot text{font-size:12.5px;fill:var(--chart-muted)}
.plot .mid{text-anchor:middle}
.plot .end{text-anchor:end}
.panel{margin:0}
.panel img,.strip img,.gallery img{display:block;width:100%;height:auto;border-radius:8px;background:#fff}
figcaption{padding:6px 2px 0;font-size:14px;color:var(--muted);overflow-wrap:anywhere}
.strip,.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(240px,1fr));gap:16px;padding-top:12px}
.gallery{grid-template-columns:repeat(auto-fill,minmax(300px,1fr));align-items:start}
.gallery.mistaken{grid-template-columns:repeat(auto-fill,minmax(min(100%,480px),1fr));gap:26px 22px}
.mistaken .chip{margin:0 4px 0 2px;width:11px;height:11px}
.mistaken b{color:var(--ink)}
.strip figure,.gallery figure{margin:0;min-width:0}
figure.zoom{grid-column:1/-1}
.strip button,.gallery button{all:unset;cursor:zoom-in;display:block;width:100%;border-radius:8px}
.strip button:focus-visible,.gallery button:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.zoom button{cursor:zoom-out}
details{margin-top:16px}
summary{cursor:pointer;padding:8px 0;font-weight:600}
.code{position:relative;margin:6px 0 18px}
pre{margin:0;padding:13px 82px 13px 16px;background:var(--soft);border:1px solid var(--line);
border-radius:9px;font:14px/1.5 ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace;
white-space:pre-wrap;overflow-wrap:anywhere}
.code button{position:absolute;top:8px;right:8px;padding:4px 11px;font:inherit;font-size:13px;
color:var(--muted);background:var(--card);border:1px solid var(--line);border-radius:6px;cursor:pointer}
.code button:hover{color:var(--ink)}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:12px 44px;
align-items:start}
.pairs{font-size:14px}
.pairs th{color:var(--muted);padding-left:0;width:1%;white-space:nowrap;vertical-align:top}
.pairs td{padding-right:0;overflow-wrap:anywhere;text-align:right}
.log{font-size:14px}
.log td,.log th{text-align:right;white-space:nowrap;padding:6px 9px}
.log thead th{white-space:normal;vertical-align:bottom}
.log .best{color:var(--accent);font-weight:650}
.rules{max-width:50em;margin-top:22px;color:var(--muted);font-size:15px}
footer{margin-top:64px;padding-top:18px;padding-bottom:44px;color:var(--muted);font-size:14px}
@media(max-width:980px){.confusion{grid-template-columns:minmax(0,1fr)}}
@media(max-width:820px){.figures{grid-template-columns:minmax(0,1fr)}}
@media(max-width:560px){main,header,footer,nav ul{padding-left:16px;padding-right:16px}
header{padding-top:26px}
.verdict{font-size:16.5px}.hero .value{font-size:48px}section{margin-top:44px}.tiles .value{font-size:19px}
.wide{min-width:150px}td,th{padding:7px 8px}
.panel .scroll img{width:780px;max-width:none}
.mistaken .zoom button{overflow-x:auto}.mistaken .zoom img{width:1100px;max-width:none}
.steps{grid-template-columns:minmax(0,1fr);gap:4px}.steps dd{margin-bottom:12px}
.pairs th{white-space:normal;overflow-wrap:anywhere;width:42%}
.card{padding:16px}}
@media print{:root{--paper:#fff}h2,h3,.lead{break-after:avoid}
.charts{grid-template-columns:repeat(3,1fr)}.columns{grid-template-columns:1fr 1fr}
body{font-size:12px}nav,.code button,details:not([open]){display:none}
.panel img{width:auto;max-width:100%;max-height:215mm}section{margin-top:26px}
.card,.charts figure,.panel,.shares,.matrix,tr,li{break-inside:avoid}
.scroll,.tall{overflow:visible;max-height:none}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}main,header,footer{padding:0;max-width:none}}
"""

SCRIPT = """
document.querySelectorAll('table.sortable').forEach(function(table){
  var body=table.tBodies[0],heads=table.tHead.rows[0].cells;
  Array.prototype.forEach.call(heads,function(head,column){
    head.firstChild.addEventListener('click',function(){
      var text=head.dataset.sort==='str';
      var up=head.hasAttribute('aria-sort')?head.getAttribute('aria-sort')==='descending':text||column===2;
      Array.prototype.forEach.call(heads,function(other){other.removeAttribute('aria-sort')});
      head.setAttribute('aria-sort',up?'ascending':'descending');
      Array.prototype.slice.call(body.rows).map(function(row){
        var cell=row.cells[column];
        return [text?cell.textContent.toLowerCase():parseFloat(cell.dataset.v),row];
      }).sort(function(a,b){
        if(!text&&(a[0]<0||b[0]<0))return (a[0]<0)-(b[0]<0);
        var order=text?a[0].localeCompare(b[0]):a[0]-b[0];return up?order:-order;
      }).forEach(function(pair){body.appendChild(pair[1])});
    });
  });
});
document.querySelectorAll('.strip button,.gallery button').forEach(function(button){
  button.addEventListener('click',function(){button.parentNode.classList.toggle('zoom')});
});
document.querySelectorAll('.code button').forEach(function(button){
  button.addEventListener('click',function(){
    var code=button.parentNode.querySelector('pre'),range=document.createRange();
    range.selectNodeContents(code);getSelection().removeAllRanges();getSelection().addRange(range);
    var done=function(){button.textContent='copied'};
    if(navigator.clipboard&&isSecureContext)navigator.clipboard.writeText(code.textContent).then(done);
    else if(document.execCommand('copy'))done();
  });
});
"""
